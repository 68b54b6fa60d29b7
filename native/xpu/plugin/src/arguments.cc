#include "arguments.h"

#include <algorithm>
#include <atomic>

namespace oarlock_xpu {
namespace {
// Off only where what the checks cost is measured (benchmarks/xpu/calls.py).
std::atomic<bool> checking{true};

[[noreturn]] void wrong(const std::string& kernel, ffi::PackedArgs args, int index, const char* what) {
  TVM_FFI_THROW(TypeError) << "kernel " << kernel << ", argument " << index << ": " << what << ", and got " << args[index].GetTypeKey();
}

// An address of device memory up to the last of `bytes`, where there are any; else why it is none.
const char* trouble_with(const char* data, int64_t bytes, int device) {
  if (!bytes) return nullptr;
  if (!data) return "it has no data";
  XPUMemoryKind kind = XPU_MEM_MAIN, last_kind = XPU_MEM_MAIN;
  int owner = 0, last_owner = 0;
  if (xpu_pointer_kind(data, &kind, &owner) != XPU_SUCCESS) return "its address is none of the device's memory";
  if (xpu_pointer_kind(data + bytes - 1, &last_kind, &last_owner) != XPU_SUCCESS || last_kind != kind || last_owner != owner)
    return "it ends outside of the device's memory";
  if (device >= 0 && owner != device) return "it is on another XPU than the result";
  return nullptr;
}
}  // namespace

View tensor_argument(const Step& step, ffi::PackedArgs args, int index, const char* role, int device) {
  auto fail = [&](const std::string& what) {
    TVM_FFI_THROW(TypeError) << step.api << " (" << step.symbol << "), argument " << index << " '" << role << "': " << what;
  };
  auto given = args[index].try_cast<DLTensor*>();
  if (!given || !*given) fail("a tensor is needed, and got " + std::string(args[index].GetTypeKey()));
  const DLTensor& t = **given;
  View view;
  view.role = role;
  view.dtype = t.dtype;
  if (t.ndim < 0 || (t.ndim && !t.shape)) fail("it has no shape");
  view.shape.assign(t.shape, t.shape + t.ndim);
  view.data = static_cast<char*>(t.data) + t.byte_offset;
  if (!checking.load(std::memory_order_relaxed)) return view;
  if (t.device.device_type != kXpu) fail("it is not on the XPU");
  if (t.dtype.lanes != 1) fail("its elements are vectors");
  if (std::any_of(view.shape.begin(), view.shape.end(), [](int64_t d) { return d < 0; })) fail("a dim is negative");
  const int64_t size = view.size();
  if (t.strides && size > 1) {
    int64_t step_of = 1;
    for (int i = t.ndim - 1; i >= 0; --i) {
      if (t.shape[i] != 1 && t.strides[i] != step_of) fail("it is not contiguous");
      step_of *= t.shape[i];
    }
  }
  const int64_t element = (t.dtype.bits + 7) / 8;
  if (const char* trouble = trouble_with(view.data, size * element, device)) fail(trouble);
  if (size && reinterpret_cast<uintptr_t>(view.data) % static_cast<uintptr_t>(element))
    fail("it is not aligned to its elements of " + std::to_string(element) + " bytes");
  return view;
}

Ranges::Ranges(const Call& call) {
  if (!xpu_launch_ranges || !checking.load(std::memory_order_relaxed)) return;
  std::vector<XPURange> ranges;
  ranges.reserve(call.inputs.size() + call.outputs.size() + 1);
  auto add = [&](const View& view, bool writable) {
    ranges.push_back({view.data, static_cast<uint64_t>(view.bytes()), view.role, writable});
  };
  for (const View& view : call.inputs) add(view, false);
  for (const View& view : call.outputs) add(view, true);
  add(call.output, true);
  xpu_launch_ranges(call.step.symbol.c_str(), ranges.data(), static_cast<int>(ranges.size()));
}

Ranges::~Ranges() {
  if (xpu_launch_ranges) xpu_launch_ranges(nullptr, nullptr, 0);
}

void* address_argument(const std::string& kernel, ffi::PackedArgs args, int index) {
  auto address = args[index].try_cast<void*>();
  if (!address) wrong(kernel, args, index, "an address of the device is needed");
  if (*address && checking.load(std::memory_order_relaxed) && xpu_pointer_kind(*address, nullptr, nullptr) != XPU_SUCCESS)
    TVM_FFI_THROW(ValueError) << "kernel " << kernel << ", argument " << index << " is no address of the device: " << xpu_last_error_text();
  return *address;
}

int64_t integer_argument(const std::string& kernel, ffi::PackedArgs args, int index, int64_t least, int64_t most) {
  auto value = args[index].try_cast<int64_t>();
  if (!value) wrong(kernel, args, index, "an integer is needed");
  if (*value < least || *value > most)
    TVM_FFI_THROW(ValueError) << "kernel " << kernel << ", argument " << index << ": " << *value << " does not fit";
  return *value;
}

double number_argument(const std::string& kernel, ffi::PackedArgs args, int index) {
  auto value = args[index].try_cast<double>();
  if (!value) wrong(kernel, args, index, "a number is needed");
  return *value;
}

TVM_FFI_STATIC_INIT_BLOCK() {
  // for measurements: whether arguments are checked from here on → whether they were
  tvm::ffi::reflection::GlobalDef().def("oarlock_xpu.check_arguments", [](bool check) { return checking.exchange(check); });
}
}  // namespace oarlock_xpu
