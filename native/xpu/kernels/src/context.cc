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
  if (scratch_) xpu_free(scratch_);
}

void Context::xpu_wait() { ::xpu_wait(xpu_stream); }

namespace {
void* grown(void** memory, int64_t* size, int64_t wanted) {
  if (wanted > *size) {
    if (*memory) xpu_free(*memory);  // waits for what still uses it
    *memory = nullptr;
    *size = 0;
    if (xpu_malloc(memory, static_cast<uint64_t>(wanted), XPU_MEM_MAIN) != XPU_SUCCESS) return *memory = nullptr;
    *size = wanted;
  }
  return *memory;
}
// Launches that follow may touch it, whatever their callers told.
void* touched(void* memory, int64_t size) {
  const XPURange range{memory, static_cast<uint64_t>(size), "workspace", 1};
  if (xpu_launch_range_add && memory) xpu_launch_range_add(&range);
  return memory;
}
constexpr int64_t kOfWorkspace = 1024;  // bytes of L3 that scratch leaves to workspace, which needs but max pointers then
}  // namespace

void* Context::workspace(int64_t size) {
  if (size <= std::min(_l3_mgr.size(), kOfWorkspace)) return touched(_l3_mgr.memory(), size);
  return touched(grown(&main_, &main_size_, size), size);
}

void* Context::scratch(int64_t size) {
  if (size <= _l3_mgr.size() - kOfWorkspace) return touched(static_cast<char*>(_l3_mgr.memory()) + kOfWorkspace, size);
  return touched(grown(&scratch_, &scratch_size_, size), size);
}

Context* create_context() { return new Context(); }
void destroy_context(Context* ctx) { delete ctx; }

}  // namespace api
}  // namespace xpu
}  // namespace baidu
