// Modules of generated kernels ("xpu"): code for one or more chips, of which the device's is loaded, and the kernels' parameters.
//
// TVM calls a kernel with its pointers and numbers, then the extents of its grid; arguments.h checks them.
#include <cstring>
#include <map>
#include <mutex>

#include "arguments.h"

namespace oarlock_xpu {
namespace {

enum class Parameter { kPointer, kInt8, kInt16, kInt32, kInt64, kUint8, kUint32, kFloat, kCluster, kCore };

const std::map<std::string, Parameter>& parameters() {
  static const std::map<std::string, Parameter> names = {
      {"pointer", Parameter::kPointer}, {"int8", Parameter::kInt8},       {"int16", Parameter::kInt16}, {"int32", Parameter::kInt32},
      {"int64", Parameter::kInt64},     {"uint8", Parameter::kUint8},     {"bool", Parameter::kUint8},  {"uint32", Parameter::kUint32},
      {"float32", Parameter::kFloat},   {"cluster", Parameter::kCluster}, {"core", Parameter::kCore}};
  return names;
}

class KernelModule final : public ffi::ModuleObj {
 public:
  KernelModule(std::map<std::string, std::string> codes, ffi::json::Object kernels, std::string source)
      : codes_(std::move(codes)), kernels_(std::move(kernels)), source_(std::move(source)) {}

  ~KernelModule() {
    for (auto& [chip, module] : modules_) xpu_module_unload(module);
  }

  const char* kind() const final { return "xpu"; }
  int GetPropertyMask() const final { return ffi::Module::kBinarySerializable | ffi::Module::kRunnable; }
  ffi::String InspectSource(const ffi::String&) const final { return source_; }

  ffi::Optional<ffi::Function> GetFunction(const ffi::String& name) final {
    auto found = kernels_.find(name);
    if (found == kernels_.end()) return std::nullopt;
    std::vector<Parameter> kinds;
    for (const ffi::Any& kind : (*found).second.cast<ffi::json::Array>()) {
      auto it = parameters().find(kind.cast<ffi::String>());
      if (it == parameters().end())
        TVM_FFI_THROW(ValueError) << "kernel " << name << ": unknown parameter kind " << kind.cast<ffi::String>();
      kinds.push_back(it->second);
    }
    ffi::Module self = ffi::GetRef<ffi::Module>(this);
    return ffi::Function::FromPacked([this, self, name = std::string(name), kinds](ffi::PackedArgs args, ffi::Any* result) {
      launch(name, kinds, args);
      *result = 0;
    });
  }

  ffi::Bytes SaveToBytes() const final {
    ffi::json::Array chips;
    std::vector<std::string> blobs;
    for (const auto& [chip, code] : codes_) {
      chips.push_back(ffi::String(chip));
      blobs.push_back(code);
    }
    ffi::json::Object header{
        {ffi::String("chips"), chips}, {ffi::String("kernels"), kernels_}, {ffi::String("source"), ffi::String(source_)}};
    return ffi::Bytes(pack(header, blobs));
  }

  static ffi::Module load(const ffi::Bytes& bytes) {
    auto [header, blobs] = unpack(bytes, "a module of XPU kernels");
    const auto chips = header[ffi::String("chips")].cast<ffi::json::Array>();
    if (chips.size() != blobs.size()) TVM_FFI_THROW(ValueError) << "a module of XPU kernels is damaged";
    std::map<std::string, std::string> codes;
    for (size_t i = 0; i < blobs.size(); ++i) codes[chips[i].cast<ffi::String>()] = std::move(blobs[i]);
    return ffi::Module(
        ffi::make_object<KernelModule>(std::move(codes), header[ffi::String("kernels")].cast<ffi::json::Object>(), text(header, "source")));
  }

 private:
  // The kernel in the code for the current device, loaded at its first use.
  XPUFunc function(const std::string& name) {
    const std::string chip = chip_of_device();
    std::lock_guard<std::mutex> guard(mutex_);
    auto known = functions_.find({chip, name});
    if (known != functions_.end()) return known->second;
    auto module = modules_.find(chip);
    if (module == modules_.end()) {
      auto code = codes_.find(chip);
      if (code == codes_.end()) {
        std::string others;
        for (const auto& [other, _] : codes_) others += (others.empty() ? "" : ", ") + other;
        TVM_FFI_THROW(RuntimeError) << "the kernels were compiled for " << others << ", and this device is a " << chip;
      }
      XPUModule loaded = nullptr;
      check(xpu_module_load(&loaded, code->second.data(), code->second.size()), "loading kernels");
      module = modules_.emplace(chip, loaded).first;
    }
    XPUFunc found = nullptr;
    check(xpu_module_get_func(&found, module->second, name.c_str()), "finding a kernel");
    return functions_[{chip, name}] = found;
  }

  void launch(const std::string& name, const std::vector<Parameter>& kinds, ffi::PackedArgs args) {
    if (static_cast<size_t>(args.size()) != kinds.size())
      TVM_FFI_THROW(TypeError) << "kernel " << name << " takes " << kinds.size() << " arguments, and got " << args.size();
    int64_t clusters = 1, cores = 1;
    for (size_t i = 0; i < kinds.size(); ++i) {
      if (kinds[i] != Parameter::kCluster && kinds[i] != Parameter::kCore) continue;
      // an extent of the grid
      (kinds[i] == Parameter::kCluster ? clusters : cores) = integer_argument(name, args, static_cast<int>(i), 0, INT32_MAX);
    }
    if (!clusters || !cores) return;  // no work
    const XPUFunc kernel = function(name);
    check(xpu_launch_config(static_cast<int>(clusters), static_cast<int>(cores), current_stream()), name.c_str());
    size_t offset = 0;
    auto set = [&](auto value) {
      offset = (offset + sizeof(value) - 1) / sizeof(value) * sizeof(value);
      check(xpu_launch_argument_set(&value, sizeof(value), offset), name.c_str());
      offset += sizeof(value);
    };
    auto integer = [&](size_t i, int64_t least, int64_t most) { return integer_argument(name, args, static_cast<int>(i), least, most); };
    for (size_t i = 0; i < kinds.size(); ++i) {
      switch (kinds[i]) {
        case Parameter::kPointer:
          set(address_argument(name, args, static_cast<int>(i)));
          break;
        case Parameter::kInt8:
          set(static_cast<int8_t>(integer(i, INT8_MIN, INT8_MAX)));
          break;
        case Parameter::kInt16:
          set(static_cast<int16_t>(integer(i, INT16_MIN, INT16_MAX)));
          break;
        case Parameter::kInt32:
          set(static_cast<int32_t>(integer(i, INT32_MIN, INT32_MAX)));
          break;
        case Parameter::kInt64:
          set(integer(i, INT64_MIN, INT64_MAX));
          break;
        case Parameter::kUint8:
          set(static_cast<uint8_t>(integer(i, 0, UINT8_MAX)));
          break;
        case Parameter::kUint32:
          set(static_cast<uint32_t>(integer(i, 0, UINT32_MAX)));
          break;
        case Parameter::kFloat:
          set(static_cast<float>(number_argument(name, args, static_cast<int>(i))));
          break;
        case Parameter::kCluster:
        case Parameter::kCore:
          break;
      }
    }
    check(xpu_launch_async(kernel), name.c_str());
  }

  std::map<std::string, std::string> codes_;  // by chip
  ffi::json::Object kernels_;                 // name → kinds of its parameters
  std::string source_;
  std::map<std::string, XPUModule> modules_;
  std::map<std::pair<std::string, std::string>, XPUFunc> functions_;
  std::mutex mutex_;
};
}  // namespace

std::string pack(const ffi::json::Value& header, const std::vector<std::string>& blobs) {
  std::string out;
  auto put = [&](const std::string& part) {
    const uint64_t size = part.size();
    out.append(reinterpret_cast<const char*>(&size), sizeof(size));
    out += part;
  };
  put(ffi::json::Stringify(header));
  for (const std::string& blob : blobs) put(blob);
  return out;
}

std::pair<ffi::json::Object, std::vector<std::string>> unpack(const ffi::Bytes& bytes, const char* what) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t size = 0;
    if (bytes.size() - at < sizeof(size)) TVM_FFI_THROW(ValueError) << what << " is cut short";
    memcpy(&size, bytes.data() + at, sizeof(size));
    at += sizeof(size);
    if (bytes.size() - at < size) TVM_FFI_THROW(ValueError) << what << " is cut short";
    parts.emplace_back(bytes.data() + at, size);
    at += size;
  }
  if (parts.empty()) TVM_FFI_THROW(ValueError) << what << " is empty";
  ffi::String error;
  ffi::json::Value header = ffi::json::Parse(parts[0], &error);
  auto object = header.as<ffi::json::Object>();
  if (!error.empty() || !object) TVM_FFI_THROW(ValueError) << what << " is damaged: " << error;
  parts.erase(parts.begin());
  return {*object, std::move(parts)};
}

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("ffi.Module.load_from_bytes.xpu", &KernelModule::load)
      // codes: chip → what the chip's compiler made; kernels: JSON, name → kinds of parameters
      .def("oarlock_xpu.kernel_module", [](ffi::Map<ffi::String, ffi::Bytes> codes, ffi::String kernels, ffi::String source) {
        std::map<std::string, std::string> by_chip;
        for (const auto& [chip, code] : codes) by_chip[chip] = std::string(code.data(), code.size());
        return ffi::Module(ffi::make_object<KernelModule>(std::move(by_chip), ffi::json::Parse(kernels).cast<ffi::json::Object>(), source));
      });
}
}  // namespace oarlock_xpu
