// TVM's device ext_dev: memory, copies and streams of the XPU.
#include <algorithm>
#include <cctype>
#include <map>
#include <memory>

#include "plugin.h"

namespace oarlock_xpu {
namespace {
using tvm::runtime::DeviceAPI;
using tvm::runtime::DeviceAttrKind;

thread_local int device_number = 0;
thread_local std::map<int, XPUStream> streams;  // by device

int64_t attribute(int device, XPUDeviceAttr attr) {
  uint64_t value = 0;
  check(xpu_device_get_attr(&value, attr, device), "the device's attributes");
  return static_cast<int64_t>(value);
}

class XpuDeviceApi final : public DeviceAPI {
 public:
  void SetDevice(Device device) final { use_device(device.device_id); }

  void GetAttr(Device device, DeviceAttrKind kind, ffi::Any* result) final {
    int count = 0;
    const bool exists = xpu_device_count(&count) == XPU_SUCCESS && device.device_id >= 0 && device.device_id < count;
    if (kind == tvm::runtime::kExist) {
      *result = exists;
      return;
    }
    if (!exists) return;
    const int id = device.device_id;
    switch (kind) {
      case tvm::runtime::kDeviceName: {
        const char* name = "";
        check(xpu_device_name(&name, id), "the device's name");
        *result = ffi::String(name);
        return;
      }
      case tvm::runtime::kMultiProcessorCount:
        *result = attribute(id, XPUATTR_NUM_CLUSTER);
        return;
      case tvm::runtime::kMaxThreadsPerBlock:
        *result = attribute(id, XPUATTR_NUM_CORE);
        return;
      case tvm::runtime::kMaxSharedMemoryPerBlock:
        *result = attribute(id, XPUATTR_SHARED_MEM_SIZE);
        return;
      case tvm::runtime::kMaxClockRate:
        *result = attribute(id, XPUATTR_CLOCK_MHZ) * 1000;
        return;  // kHz
      case tvm::runtime::kL2CacheSizeBytes:
        *result = attribute(id, XPUATTR_MEM_L3_CAPACITY);
        return;
      case tvm::runtime::kTotalGlobalMemory:
        *result = attribute(id, XPUATTR_MEM_MAIN_CAPACITY);
        return;
      case tvm::runtime::kAvailableGlobalMemory:
        *result = attribute(id, XPUATTR_MEM_MAIN_CAPACITY) - attribute(id, XPUATTR_MEM_MAIN_USED);
        return;
      default:
        return;  // no such thing
    }
  }

  void* AllocDataSpace(Device device, size_t size, size_t alignment, DLDataType) final {
    if (alignment > 256) TVM_FFI_THROW(ValueError) << "XPU memory is aligned to 256 bytes, not to " << alignment;
    return allocate(device.device_id, size, false);
  }

  void* AllocDataSpace(Device device, int ndim, const int64_t* shape, DLDataType dtype, ffi::Optional<ffi::String> scope) final {
    size_t size = (dtype.bits * dtype.lanes + 7) / 8;
    for (int i = 0; i < ndim; ++i) size *= static_cast<size_t>(shape[i]);
    const bool in_l3 = scope.has_value() && scope.value() == "global.l3";
    if (scope.has_value() && !in_l3 && !scope.value().empty() && scope.value() != "global")
      TVM_FFI_THROW(ValueError) << "the XPU has no memory scope " << scope.value() << ": use global or global.l3";
    return allocate(device.device_id, size, in_l3);
  }

  void FreeDataSpace(Device, void* memory) final { release(memory); }

  TVMStreamHandle CreateStream(Device device) final {
    use_device(device.device_id);
    XPUStream stream = nullptr;
    check(xpu_stream_create(&stream), "a new stream");
    return stream;
  }

  void FreeStream(Device device, TVMStreamHandle stream) final {
    use_device(device.device_id);
    if (streams[device.device_id] == stream) streams[device.device_id] = nullptr;
    check(xpu_stream_destroy(static_cast<XPUStream>(stream)), "the end of a stream");
  }

  void StreamSync(Device device, TVMStreamHandle stream) final {
    use_device(device.device_id);
    check(xpu_wait(static_cast<XPUStream>(stream)), "waiting for the device");
  }

  void SetStream(Device device, TVMStreamHandle stream) final { streams[device.device_id] = static_cast<XPUStream>(stream); }
  TVMStreamHandle GetCurrentStream(Device device) final { return streams[device.device_id]; }

  void SyncStreamFromTo(Device device, TVMStreamHandle from, TVMStreamHandle to) final {
    use_device(device.device_id);
    XPUEvent event = nullptr;
    check(xpu_event_create(&event), "a new event");
    int status = xpu_event_record(event, static_cast<XPUStream>(from));
    if (status == XPU_SUCCESS) status = xpu_stream_wait_event(static_cast<XPUStream>(to), event);
    xpu_event_destroy(event);
    check(status, "one stream waiting for another");
  }

 protected:
  void CopyDataFromTo(const void* from, size_t from_offset, void* to, size_t to_offset, size_t size, Device device_from, Device device_to,
                      DLDataType, TVMStreamHandle) final {
    if (!size) return;
    const char* source = static_cast<const char*>(from) + from_offset;
    char* target = static_cast<char*>(to) + to_offset;
    const bool reads = device_from.device_type == kXpu, writes = device_to.device_type == kXpu;
    if (reads && writes && device_from.device_id != device_to.device_id) {
      check(xpu_memcpy_peer(device_to.device_id, target, device_from.device_id, source, size), "a copy between devices");
      return;
    }
    use_device(reads ? device_from.device_id : device_to.device_id);
    const XPUMemcpyKind kind = !reads ? XPU_HOST_TO_DEVICE : !writes ? XPU_DEVICE_TO_HOST : XPU_DEVICE_TO_DEVICE;
    check(xpu_memcpy(target, source, size, kind), !reads    ? "a copy to the device"
                                                  : !writes ? "a copy from the device"
                                                            : "a copy on the device");
  }
};

// One of the kernel library's contexts for each device of a thread.
std::map<int, std::shared_ptr<api::Context>>& contexts() {
  thread_local std::map<int, std::shared_ptr<api::Context>> all;
  return all;
}
}  // namespace

void use_device(int number) {
  check(xpu_set_device(number), "the device");
  device_number = number;
}

XPUStream current_stream() { return streams[device_number]; }

api::Context* current_context() {
  auto& context = contexts()[device_number];
  if (!context) {
    check(xpu_set_device(device_number), "the device");
    context = std::make_shared<api::Context>();
    if (!context->error.empty()) TVM_FFI_THROW(RuntimeError) << "the kernel library: " << context->error;
  }
  context->xpu_stream = current_stream();
  return context.get();
}

UseContext::UseContext(std::shared_ptr<api::Context> context) : device_(device_number), before_(contexts()[device_number]) {
  contexts()[device_] = std::move(context);
}

UseContext::~UseContext() { contexts()[device_] = std::move(before_); }

std::string chip_of_device() {
  const char* title = "";
  check(xpu_device_name(&title, device_number), "the device's name");
  std::string name = title;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

void* allocate(int device, size_t size, bool in_l3) {
  use_device(device);
  void* memory = nullptr;
  // L3 is a faster place for what also may lie elsewhere
  if (in_l3 && xpu_malloc(&memory, size, XPU_MEM_L3) == XPU_SUCCESS) return memory;
  check(xpu_malloc(&memory, size, XPU_MEM_MAIN), "device memory");
  return memory;
}

void release(void* memory) { xpu_free(memory); }

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef().def("device_api.ext_dev", []() -> void* {
    static auto* device = new XpuDeviceApi();  // outlives every tensor
    return static_cast<DeviceAPI*>(device);
  });
}
}  // namespace oarlock_xpu
