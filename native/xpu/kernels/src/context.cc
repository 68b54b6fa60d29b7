// Contexts: what the library knows of its device, and the memory that it works in.
#include "device.h"

namespace baidu {
namespace xpu {
namespace api {

int L3Manager::set(void* memory, int64_t size) {
  if (size < 0 || (size > 0 && !memory)) return INVALID_PARAM;
  memory_ = memory;
  size_ = memory ? size : 0;
  return SUCCESS;
}

Context::Context() {
  int status = xpu_current_device(&device_);
  auto attribute = [&](XPUDeviceAttr attr) {
    uint64_t value = 0;
    if (status == XPU_SUCCESS) status = xpu_device_get_attr(&value, attr, device_);
    return static_cast<int>(value);
  };
  clusters_ = attribute(XPUATTR_NUM_CLUSTER);
  cores_ = attribute(XPUATTR_NUM_CORE);
  sdnn_ = attribute(XPUATTR_NUM_SDNN);
  max_ptr_size_ = attribute(XPUATTR_MAX_PTR_SIZE);
  if (status != XPU_SUCCESS) error = xpu_last_error_text();
}

Context::~Context() {
  if (main_) xpu_free(main_);
}

void Context::xpu_wait() { ::xpu_wait(xpu_stream); }

void* Context::workspace(int64_t size) {
  if (size <= _l3_mgr.size()) return _l3_mgr.memory();
  if (size > main_size_) {
    if (main_) xpu_free(main_);  // waits for what still uses it
    main_ = nullptr;
    main_size_ = 0;
    if (xpu_malloc(&main_, static_cast<uint64_t>(size), XPU_MEM_MAIN) != XPU_SUCCESS) {
      main_ = nullptr;
      return nullptr;
    }
    main_size_ = size;
  }
  return main_;
}

Context* create_context() { return new Context(); }
void destroy_context(Context* ctx) { delete ctx; }

}  // namespace api
}  // namespace xpu
}  // namespace baidu
