// The chip's runtime (memory of the host), its library (one function) and the plug-in that shows both to TVM.
#include <dlfcn.h>
#include <sys/mman.h>
#include <tvm/ffi/cast.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/reflection/registry.h>
#include <tvm/runtime/device_api.h>
#include <tvm/runtime/tensor.h>
#include <unistd.h>

#include <cstring>

namespace {
namespace ffi = tvm::ffi;
using tvm::Device, tvm::runtime::Tensor;

class TinyApi final : public tvm::runtime::DeviceAPI {
 public:
  void SetDevice(Device) final {}
  void GetAttr(Device device, tvm::runtime::DeviceAttrKind kind, ffi::Any* result) final {
    if (kind == tvm::runtime::kExist) *result = device.device_id == 0;
  }
  void* AllocDataSpace(Device, size_t size, size_t, DLDataType) final { return aligned_alloc(64, (size + 64) / 64 * 64); }
  void FreeDataSpace(Device, void* memory) final { free(memory); }
  void StreamSync(Device, TVMStreamHandle) final {}
 protected:
  void CopyDataFromTo(const void* from, size_t a, void* to, size_t b, size_t size, Device, Device, DLDataType, TVMStreamHandle) final {
    memcpy(static_cast<char*>(to) + b, static_cast<const char*>(from) + a, size);
  }
};

// y = x · w (+ bias)
void fc(ffi::PackedArgs args) {
  for (int i = 0; i < args.size(); ++i) {
    auto t = args[i].try_cast<DLTensor*>();
    if (!t || (*t)->device.device_type != kDLExtDev || (*t)->dtype.code != kDLFloat || (*t)->dtype.bits != 32)
      TVM_FFI_THROW(TypeError) << "fc, argument " << i << ": a float32 tensor of the chip is needed";
  }
  const DLTensor &x = *args[0].cast<DLTensor*>(), &w = *args[1].cast<DLTensor*>(), &y = *args[args.size() - 1].cast<DLTensor*>();
  int64_t k = w.shape[0], n = w.shape[1], m = 1;
  for (int i = 0; i + 1 < x.ndim; ++i) m *= x.shape[i];
  if (x.shape[x.ndim - 1] != k || y.shape[y.ndim - 1] != n) TVM_FFI_THROW(ValueError) << "fc: the shapes do not fit";
  auto data = [](const DLTensor& t) { return reinterpret_cast<float*>(static_cast<char*>(t.data) + t.byte_offset); };
  const float* bias = args.size() == 4 ? data(*args[2].cast<DLTensor*>()) : nullptr;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float sum = bias ? bias[j] : 0;
      for (int64_t l = 0; l < k; ++l) sum += data(x)[i * k + l] * data(w)[l * n + j];
      data(y)[i * n + j] = sum;
    }
}

// Both kinds of modules: calls of the library by symbol, and kernels with their code.
class TinyModule final : public ffi::ModuleObj {
 public:
  TinyModule(std::string code, std::string table)
      : code_(std::move(code)), table_(std::move(table)), symbols_(ffi::json::Parse(table_).cast<ffi::json::Object>()) {}
  const char* kind() const final { return "tiny"; }
  int GetPropertyMask() const final { return ffi::Module::kBinarySerializable | ffi::Module::kRunnable; }
  ffi::Bytes SaveToBytes() const final { return ffi::Bytes(std::to_string(code_.size()) + " " + code_ + table_); }
  static ffi::Module load(const ffi::Bytes& bytes) {
    size_t start = 0;
    const size_t size = std::stoul(std::string(bytes), &start);
    return make(std::string(bytes).substr(start + 1, size), std::string(bytes).substr(start + 1 + size));
  }
  static ffi::Module make(std::string code, std::string table) { return ffi::Module(ffi::make_object<TinyModule>(code, table)); }

  ffi::Optional<ffi::Function> GetFunction(const ffi::String& name) final {
    auto found = symbols_.find(name);
    if (found == symbols_.end()) return std::nullopt;
    if (code_.empty()) return ffi::Function::FromPacked([](ffi::PackedArgs args, ffi::Any*) { fc(args); });
    if (!library_) {  // from memory, whose descriptor stays open: the loader knows libraries by their paths
      const int file = memfd_create("tiny-kernels", MFD_CLOEXEC);
      if (write(file, code_.data(), code_.size()) == static_cast<ssize_t>(code_.size()))
        library_ = dlopen(("/proc/self/fd/" + std::to_string(file)).c_str(), RTLD_NOW);
    }
    using Kernel = void (*)(const int64_t*, int);
    auto kernel = library_ ? reinterpret_cast<Kernel>(dlsym(library_, ("tiny_" + std::string(name)).c_str())) : nullptr;
    if (!kernel) TVM_FFI_THROW(RuntimeError) << "there is no kernel " << name;
    const auto kinds = (*found).second.cast<ffi::json::Array>();
    return ffi::Function::FromPacked([kernel, kinds, self = ffi::GetRef<ffi::Module>(this)](ffi::PackedArgs args, ffi::Any*) {
      std::vector<int64_t> words;
      int64_t cores = 1;
      for (int i = 0; i < args.size(); ++i) {
        const std::string kind = kinds[i].cast<ffi::String>();
        const float real = kind == "float32" ? args[i].cast<float>() : 0;
        int64_t word = 0;
        memcpy(&word, &real, sizeof(real));
        if (kind == "pointer") word = reinterpret_cast<int64_t>(args[i].cast<void*>());
        if (kind != "pointer" && kind != "float32") word = args[i].cast<int64_t>();
        if (kind == "core") cores = word;
        if (kind != "core" && kind != "cluster") words.push_back(word);
      }
      for (int core = 0; core < cores; ++core) kernel(words.data(), core);
    });
  }
 private:
  std::string code_, table_;
  ffi::json::Object symbols_;
  void* library_ = nullptr;
};

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("device_api.ext_dev", []() -> void* { return static_cast<tvm::runtime::DeviceAPI*>(new TinyApi()); })
      .def("ffi.Module.load_from_bytes.tiny", &TinyModule::load)
      .def("tiny.library", [](ffi::String calls) { return TinyModule::make("", calls); })
      .def("tiny.kernels", [](ffi::Bytes code, ffi::String table) { return TinyModule::make({code.data(), code.size()}, table); })
      .def("oarlock_xpu.to_host", [](Tensor tensor) { return tensor.CopyTo(Device{kDLCPU, 0}); })
      .def("oarlock_xpu.to_device", [](Tensor tensor) { return tensor.CopyTo(Device{kDLExtDev, 0}); });
}
}  // namespace
