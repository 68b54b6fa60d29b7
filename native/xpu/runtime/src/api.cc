// The C API over the emulator: devices, memory and copies, errors.
#include "api.h"

#include <string.h>

namespace xpu_sim {

std::string& last_error() {
  thread_local std::string text;
  return text;
}

Device& device_of(int number) {
  auto& every = devices();
  if (number < 0 || number >= static_cast<int>(every.size()))
    fail(XPUERR_INVALID_DEVICE, format("there is no device %d: there are %zu", number, every.size()));
  return *every[number];
}

void need(bool condition, const char* what) {
  if (!condition) fail(XPUERR_INVALID_PARAM, what);
}

XPUStreamObj* stream_of(XPUStream stream) {
  if (!stream) return &current_device().default_stream;
  for (const auto& device : devices())
    for (XPUStreamObj* known : device->streams)
      if (known == stream) return stream;
  fail(XPUERR_INVALID_PARAM, "there is no such stream");
}

namespace {
constexpr double kPcieBytesPerNs = 12;  // of a PCIe 4.0 x16 slot, as programs see it; assumed

void copy(Device& device, void* to, const void* from, int64_t size, XPUMemcpyKind kind) {
  const bool reads_device = kind != XPU_HOST_TO_DEVICE, writes_device = kind != XPU_DEVICE_TO_HOST;
  const char* source = reads_device ? resolve(device, from, size, "the source") : static_cast<const char*>(from);
  char* target = writes_device ? resolve(device, to, size, "the target") : static_cast<char*>(to);
  if ((!reads_device && device.of(from)) || (!writes_device && device.of(to)))
    fail(XPUERR_INVALID_ADDRESS,
         format("the host's side of the copy is an address of the device: %s", describe(reads_device ? to : from).c_str()));
  memmove(target, source, size);
  Copies& c = device.copies;
  (kind == XPU_HOST_TO_DEVICE ? c.h2d : kind == XPU_DEVICE_TO_HOST ? c.d2h : c.d2d) += size;
  c.modelled_ns += kind == XPU_DEVICE_TO_DEVICE ? 2 * size / device.chip->gm_rate() : size / kPcieBytesPerNs;
}

void need_copy(void* to, const void* from, uint64_t size, XPUMemcpyKind kind) {
  need(kind >= XPU_HOST_TO_DEVICE && kind <= XPU_DEVICE_TO_DEVICE, "there is no such kind of copy");
  need(size == 0 || (to && from), "an address is NULL");
  need(size <= static_cast<uint64_t>(INT64_MAX), "the size is negative");
}

int model_of(const std::string& chip) { return chip == "k200" ? 1 : chip == "r200" ? 2 : chip == "kl3" ? 3 : 0; }
}  // namespace
}  // namespace xpu_sim

using namespace xpu_sim;

extern "C" {

int xpu_device_count(int* count) {
  return guarded(__func__, [&] {
    need(count, "the result's address is NULL");
    *count = static_cast<int>(devices().size());
  });
}

int xpu_set_device(int device) {
  return guarded(__func__, [&] { current_device_number() = device_of(device).number; });
}

int xpu_current_device(int* device) {
  return guarded(__func__, [&] {
    need(device, "the result's address is NULL");
    *device = current_device().number;
  });
}

int xpu_device_get_attr(uint64_t* value, enum XPUDeviceAttr attr, int number) {
  return guarded(__func__, [&] {
    need(value, "the result's address is NULL");
    Device& device = device_of(number);
    const Chip& chip = *device.chip;
    switch (attr) {
      case XPUATTR_MODEL:
        *value = model_of(chip.name);
        return;
      case XPUATTR_NUM_CLUSTER:
        *value = chip.clusters;
        return;
      case XPUATTR_NUM_CORE:
        *value = chip.cores;
        return;
      case XPUATTR_NUM_SDNN:
        *value = chip.sdnn;
        return;
      case XPUATTR_MEM_MAIN_CAPACITY:
        *value = chip.gm;
        return;
      case XPUATTR_MEM_L3_CAPACITY:
        *value = chip.l3;
        return;
      case XPUATTR_LOCAL_MEM_SIZE:
        *value = chip.lm;
        return;
      case XPUATTR_SHARED_MEM_SIZE:
        *value = chip.sm;
        return;
      case XPUATTR_CLOCK_MHZ:
        *value = static_cast<uint64_t>(chip.mhz);
        return;
      case XPUATTR_MAX_PTR_SIZE:
        *value = chip.max_ptr;
        return;
      case XPUATTR_MEM_MAIN_USED:
        *value = device.main.used();
        return;
      case XPUATTR_MEM_L3_USED:
        *value = device.l3.used();
        return;
    }
    fail(XPUERR_INVALID_PARAM, format("there is no attribute %d", static_cast<int>(attr)));
  });
}

int xpu_device_name(const char** name, int number) {
  return guarded(__func__, [&] {
    need(name, "the result's address is NULL");
    *name = device_of(number).chip->title;
  });
}

int xpu_malloc(void** address, uint64_t size, enum XPUMemoryKind kind) {
  return guarded(__func__, [&] {
    need(address, "the result's address is NULL");
    need(kind == XPU_MEM_MAIN || kind == XPU_MEM_L3, "there is no such kind of memory");
    static uint64_t number = 0;
    Device& device = current_device();
    Memory& memory = kind == XPU_MEM_L3 ? device.l3 : device.main;
    char* found = size <= static_cast<uint64_t>(memory.size()) ? memory.allocate(static_cast<int64_t>(size), number + 1) : nullptr;
    if (!found)
      fail(XPUERR_NOMEM, format("no room for %llu bytes in %s of device %d: %lld of %lld bytes are in use", (unsigned long long)size,
                                memory.title(), device.number, (long long)memory.used(), (long long)memory.size()));
    ++number;
    *address = found;
  });
}

int xpu_free(void* address) {
  return guarded(__func__, [&] {
    if (!address) return;
    for (const auto& device : devices()) {
      Memory* memory = device->of(address);
      if (!memory) continue;
      if (memory->find(address) == memory->none()) fail(XPUERR_INVALID_ADDRESS, format("%p is %s", address, describe(address).c_str()));
      work_device(*device);
      memory->release(memory->find(address));
      return;
    }
    fail(XPUERR_INVALID_ADDRESS, format("%p is no memory of any device", address));
  });
}

int xpu_memcpy(void* to, const void* from, uint64_t size, enum XPUMemcpyKind kind) {
  return guarded(__func__, [&] {
    need_copy(to, from, size, kind);
    Device& device = current_device();
    drain_device(device);
    if (size) copy(device, to, from, static_cast<int64_t>(size), kind);
  });
}

int xpu_memcpy_async(void* to, const void* from, uint64_t size, enum XPUMemcpyKind kind, XPUStream stream) {
  return guarded(__func__, [&] {
    need_copy(to, from, size, kind);
    XPUStreamObj* queue = stream_of(stream);
    if (size) submit(queue, [=] { copy(*queue->device, to, from, static_cast<int64_t>(size), kind); });
  });
}

int xpu_memcpy_peer(int to_device, void* to, int from_device, const void* from, uint64_t size) {
  return guarded(__func__, [&] {
    need_copy(to, from, size, XPU_DEVICE_TO_DEVICE);
    Device &target = device_of(to_device), &source = device_of(from_device);
    drain_device(source);
    drain_device(target);
    if (!size) return;
    memmove(resolve(target, to, static_cast<int64_t>(size), "the target"), resolve(source, from, static_cast<int64_t>(size), "the source"),
            size);
    target.copies.d2d += static_cast<int64_t>(size);
    target.copies.modelled_ns += size / kPcieBytesPerNs;
  });
}

int xpu_pointer_kind(const void* address, enum XPUMemoryKind* kind, int* device) {
  return guarded(__func__, [&] {
    for (const auto& each : devices()) {
      Memory* memory = each->of(address);
      if (!memory) continue;
      resolve(*each, address, 0, "the address");
      if (kind) *kind = memory == &each->l3 ? XPU_MEM_L3 : XPU_MEM_MAIN;
      if (device) *device = each->number;
      return;
    }
    fail(XPUERR_INVALID_ADDRESS, format("%p is no memory of any device", address));
  });
}

const char* xpu_strerror(int code) {
  switch (code) {
    case XPU_SUCCESS:
      return "success";
    case XPUERR_INVALID_DEVICE:
      return "no such device";
    case XPUERR_INVALID_PARAM:
      return "invalid argument";
    case XPUERR_NOMEM:
      return "out of device memory";
    case XPUERR_INVALID_ADDRESS:
      return "invalid device address";
    case XPUERR_INVALID_FUNC:
      return "invalid kernel or module";
    case XPUERR_INVALID_LAUNCH:
      return "invalid launch";
    case XPUERR_KERNEL_FAULT:
      return "a kernel failed";
    case XPUERR_BUSY:
      return "still in use";
    case XPUERR_SYSTEM:
      return "the host's system refused";
    default:
      return "unknown error";
  }
}

const char* xpu_last_error_text(void) { return last_error().c_str(); }
}
