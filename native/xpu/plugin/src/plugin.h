// What the plug-in's parts share.  It talks to the chip through xpu/runtime.h and to its kernels through xpu/xdnn.h, and knows of no
// emulator.
#ifndef OARLOCK_XPU_PLUGIN_H_
#define OARLOCK_XPU_PLUGIN_H_

#include <tvm/ffi/cast.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>
#include <tvm/runtime/device_api.h>
#include <tvm/runtime/tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "xpu/runtime.h"
#include "xpu/xdnn.h"

namespace oarlock_xpu {
namespace ffi = tvm::ffi;
namespace api = baidu::xpu::api;
using tvm::Device;

constexpr DLDeviceType kXpu = kDLExtDev;

// Throws what the runtime says of its last error.
inline void check(int status, const char* what) {
  if (status != XPU_SUCCESS)
    TVM_FFI_THROW(RuntimeError) << what << ": " << xpu_strerror(status) << " (" << status << "): " << xpu_last_error_text();
}

void use_device(int number);      // for this thread
XPUStream current_stream();       // of this thread and its device; NULL: the default one
api::Context* current_context();  // of the kernel library, on that stream
std::string chip_of_device();     // "r200"

// While it lives, the current context of this thread and its device is another one.
class UseContext {
 public:
  explicit UseContext(std::shared_ptr<api::Context> context);
  ~UseContext();
  UseContext(const UseContext&) = delete;

 private:
  int device_;
  std::shared_ptr<api::Context> before_;
};

void* allocate(int device, size_t size, bool in_l3);
void release(void* memory);

std::string pack(const ffi::json::Value& header, const std::vector<std::string>& blobs);
std::pair<ffi::json::Object, std::vector<std::string>> unpack(const ffi::Bytes& bytes, const char* what);

inline std::string text(const ffi::json::Object& object, const char* key, const char* otherwise = "") {
  auto it = object.find(ffi::String(key));
  return it == object.end() ? otherwise : std::string((*it).second.cast<ffi::String>());
}

}  // namespace oarlock_xpu
#endif  // OARLOCK_XPU_PLUGIN_H_
