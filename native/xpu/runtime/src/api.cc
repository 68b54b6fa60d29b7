// The C API over the emulator.
#include <dlfcn.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "sim.h"

namespace xpu_sim {
void configure(const std::string& chip, int count);

namespace {
constexpr double kPcieBytesPerNs = 12;  // of a PCIe 4.0 x16 slot, as programs see it; assumed
constexpr size_t kMostArguments = 4096;

thread_local std::string last_error;

// Runs a function of the API: takes the lock, and makes an error code of what is thrown.
template <typename Body>
int guarded(const char* name, Body body) {
  Api api(name);
  std::lock_guard<std::recursive_mutex> guard(lock());
  try {
    body();
    return XPU_SUCCESS;
  } catch (const Error& error) {
    last_error = std::string(name) + ": " + error.text;
    return error.code;
  } catch (const std::bad_alloc&) {
    last_error = std::string(name) + ": the host is out of memory";
    return XPUERR_SYSTEM;
  }
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

struct LaunchState {
  bool configured = false;
  int clusters = 0, cores = 0;
  XPUStream stream = nullptr;
  std::vector<char> arguments;
};
thread_local LaunchState launching;

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

int xpu_stream_create(XPUStream* stream) {
  return guarded(__func__, [&] {
    need(stream, "the result's address is NULL");
    Device& device = current_device();
    *stream = new XPUStreamObj{&device, {}, 0, 0, {XPU_SUCCESS, ""}, false, {}};
    device.streams.push_back(*stream);
  });
}

int xpu_stream_destroy(XPUStream stream) {
  return guarded(__func__, [&] {
    need(stream, "the default stream stays");
    XPUStreamObj* queue = stream_of(stream);
    struct Gone {
      XPUStreamObj* queue;
      ~Gone() {  // also when its work fails
        auto& streams = queue->device->streams;
        streams.erase(std::find(streams.begin(), streams.end(), queue));
        delete queue;
      }
    } gone{queue};
    queue->capturing = false;  // what was recorded goes with it
    drain(queue);
  });
}

int xpu_wait(XPUStream stream) {
  return guarded(__func__, [&] {
    if (stream) {
      drain(stream_of(stream));
    } else {
      drain_device(current_device());
    }
  });
}

int xpu_event_create(XPUEvent* event) {
  return guarded(__func__, [&] {
    need(event, "the result's address is NULL");
    *event = new XPUEventObj();
  });
}

int xpu_event_destroy(XPUEvent event) {
  return guarded(__func__, [&] {
    need(event, "the event is NULL");
    delete event;
  });
}

int xpu_event_record(XPUEvent event, XPUStream stream) {
  return guarded(__func__, [&] {
    need(event, "the event is NULL");
    event->stream = stream_of(stream);
    event->after = event->stream->given;
  });
}

namespace {
// The stream of an event, where it still exists.
XPUStreamObj* alive(XPUStreamObj* stream) {
  for (const auto& device : devices()) {
    if (stream == &device->default_stream) return stream;
    for (XPUStreamObj* known : device->streams)
      if (known == stream) return stream;
  }
  return nullptr;
}
}  // namespace

int xpu_event_wait(XPUEvent event) {
  return guarded(__func__, [&] {
    need(event, "the event is NULL");
    if (XPUStreamObj* stream = alive(event->stream)) drain(stream, event->after);
  });
}

int xpu_stream_wait_event(XPUStream stream, XPUEvent event) {
  return guarded(__func__, [&] {
    need(event, "the event is NULL");
    XPUStreamObj *queue = stream_of(stream), *other = event->stream;
    if (queue->capturing) fail(XPUERR_BUSY, "the stream is captured: a graph does not wait for events");
    const uint64_t after = event->after;
    if (other && other != queue)
      submit(queue, [=] {
        if (XPUStreamObj* there = alive(other)) drain(there, after);
      });
  });
}

int xpu_stream_begin_capture(XPUStream stream) {
  return guarded(__func__, [&] {
    XPUStreamObj* queue = stream_of(stream);
    if (queue->capturing) fail(XPUERR_BUSY, "the stream is captured already");
    queue->capturing = true;
    queue->recorded.clear();
  });
}

int xpu_stream_end_capture(XPUStream stream, XPUGraph* graph) {
  return guarded(__func__, [&] {
    need(graph, "the result's address is NULL");
    XPUStreamObj* queue = stream_of(stream);
    need(queue->capturing, "the stream is not captured");
    queue->capturing = false;
    *graph = new XPUGraphObj{std::make_shared<const std::vector<std::function<void()>>>(std::move(queue->recorded))};
    queue->recorded.clear();
  });
}

int xpu_graph_launch(XPUGraph graph, XPUStream stream) {
  return guarded(__func__, [&] {
    need(graph, "the graph is NULL");
    XPUStreamObj* queue = stream_of(stream);
    if (queue->capturing) fail(XPUERR_BUSY, "the stream is captured: a graph does not launch graphs");
    submit(queue, [queue, jobs = graph->jobs] {
      Device& device = *queue->device;
      ++device.graphs.launches;
      device.graphs.modelled_ns += device.chip->launch_us * 1e3;
      graph_starts() = true;
      for (const auto& job : *jobs) job();
    });
  });
}

int xpu_graph_destroy(XPUGraph graph) {
  return guarded(__func__, [&] {
    need(graph, "the graph is NULL");
    delete graph;
  });
}

int xpu_module_load(XPUModule* module, const void* code, uint64_t size) {
  return guarded(__func__, [&] {
    need(module && code && size, "the module's code or the result's address is NULL");
    int descriptor = memfd_create("xpu-module", MFD_CLOEXEC);
    if (descriptor < 0) fail(XPUERR_SYSTEM, format("no memory for a module: %s", strerror(errno)));
    const char* from = static_cast<const char*>(code);
    for (uint64_t done = 0; done < size;) {
      ssize_t written = write(descriptor, from + done, size - done);
      if (written <= 0) {
        close(descriptor);
        fail(XPUERR_SYSTEM, format("no memory for a module: %s", strerror(errno)));
      }
      done += written;
    }
    // a path of its own for each: the linker takes an equal one for the library that it has already
    static uint64_t number = 0;
    std::string path = format("/proc/%d/fd/", getpid());
    for (uint64_t bits = ++number; bits; bits >>= 1) path += bits & 1 ? "/./" : "/";
    void* library = dlopen((path + std::to_string(descriptor)).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char* why = dlerror();
      close(descriptor);
      fail(XPUERR_INVALID_FUNC, format("the module does not load: %s", why ? why : "it is no shared object"));
    }
    *module = new XPUModuleObj{library, descriptor};
  });
}

int xpu_module_unload(XPUModule module) {
  return guarded(__func__, [&] {
    need(module, "the module is NULL");
    for (const auto& device : devices()) work_device(*device);
    dlclose(module->library);
    close(module->descriptor);
    delete module;
  });
}

int xpu_module_get_func(XPUFunc* func, XPUModule module, const char* name) {
  return guarded(__func__, [&] {
    need(func && module && name, "the module, the name or the result's address is NULL");
    void* found = dlsym(module->library, (std::string("xpu_kernel_") + name).c_str());
    if (!found) fail(XPUERR_INVALID_FUNC, format("the module has no kernel %s", name));
    *func = static_cast<XPUFunc>(found);
  });
}

int xpu_launch_config(int clusters, int cores, XPUStream stream) {
  return guarded(__func__, [&] {
    stream_of(stream);
    launching = {true, clusters, cores, stream, {}};
  });
}

int xpu_launch_argument_set(const void* argument, size_t size, size_t offset) {
  return guarded(__func__, [&] {
    if (!launching.configured) fail(XPUERR_INVALID_LAUNCH, "xpu_launch_config must come first");
    need(argument && size, "the argument is NULL or empty");
    if (offset > kMostArguments || size > kMostArguments - offset)
      fail(XPUERR_INVALID_LAUNCH, format("arguments of %zu bytes: at most %zu fit", offset + size, kMostArguments));
    if (launching.arguments.size() < offset + size) launching.arguments.resize(offset + size);
    memcpy(launching.arguments.data() + offset, argument, size);
  });
}

int xpu_launch_async(XPUFunc func) {
  return guarded(__func__, [&] {
    LaunchState state = std::move(launching);
    launching = LaunchState();
    if (!state.configured) fail(XPUERR_INVALID_LAUNCH, "xpu_launch_config must come first");
    if (!func) fail(XPUERR_INVALID_FUNC, "the kernel is NULL");
    XPUStreamObj* stream = stream_of(state.stream);
    const Chip& chip = *stream->device->chip;
    const int clusters = func->is_sdnn ? chip.sdnn : chip.clusters, cores = func->is_sdnn ? 1 : chip.cores;
    if (state.clusters < 1 || state.clusters > clusters || state.cores < 1 || state.cores > cores)
      fail(XPUERR_INVALID_LAUNCH, format("kernel %s on a grid of %d x %d: %s has %d %s of %d", func->name, state.clusters, state.cores,
                                         chip.title, clusters, func->is_sdnn ? "matrix units" : "clusters", cores));
    if (static_cast<int>(state.arguments.size()) != func->argument_bytes)
      fail(XPUERR_INVALID_LAUNCH,
           format("kernel %s takes %d bytes of arguments, and got %zu", func->name, func->argument_bytes, state.arguments.size()));
    Launch launch{stream->device, func, state.clusters, state.cores, std::move(state.arguments), stream->capturing};
    submit(stream, [launch = std::move(launch)] { run_kernel(launch); });
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

const char* xpu_last_error_text(void) { return last_error.c_str(); }

int xpu_sim_configure(const char* chip, int count) {
  return guarded(__func__, [&] {
    need(chip, "the chip's name is NULL");
    configure(chip, count);
  });
}

const char* xpu_sim_chip(void) {
  const char* name = "";
  guarded(__func__, [&] { name = current_device().chip->name; });
  return name;
}

int xpu_sim_dry(int on) {
  return guarded(__func__, [&] {
    drain_device(current_device());
    is_dry() = on != 0;
  });
}

int xpu_sim_suppose_operands(int bytes) {
  return guarded(__func__, [&] {
    need(bytes == 4 || bytes == 2 || bytes == 1, "operands have 4, 2 or 1 bytes");
    drain_device(current_device());
    supposed_operands() = bytes;
  });
}

int xpu_sim_suppose_bytes(const void* address, double factor) {
  return guarded(__func__, [&] {
    need(factor > 0 && factor <= 1, "the factor is a part");
    for (const auto& device : devices()) {
      Memory* memory = device->of(address);
      if (!memory) continue;
      auto found = memory->find(const_cast<void*>(address));
      if (found == memory->none()) break;
      found->second.factor = factor;
      return;
    }
    fail(XPUERR_INVALID_ADDRESS, format("%p is no allocation", address));
  });
}

const char* xpu_sim_counters(void) {
  thread_local std::string text;
  guarded(__func__, [&] {
    Device& device = current_device();
    drain_device(device);
    std::string kernels;
    double total = device.graphs.modelled_ns;
    for (const auto& [name, k] : device.kernels) {
      total += k.modelled_ns;
      kernels += format(
          "%s\"%s\": {\"launches\": %lld, \"replayed\": %lld, \"modelled_us\": %.3f, \"gm_read\": %lld, \"gm_written\": %lld, \"l3_read\": %lld, "
          "\"l3_written\": %lld, \"dma\": %lld, \"ops\": %lld, \"macs\": %lld, \"barriers\": %lld, \"lm_peak\": %lld, \"sm_peak\": %lld, "
          "\"compute_us\": %.3f, \"dma_us\": %.3f}",
          kernels.empty() ? "" : ", ", name.c_str(), (long long)k.launches, (long long)k.replayed, k.modelled_ns / 1e3, (long long)k.gm_read,
          (long long)k.gm_written, (long long)k.l3_read, (long long)k.l3_written, (long long)k.dma, (long long)k.ops, (long long)k.macs,
          (long long)k.barriers, (long long)k.lm_peak, (long long)k.sm_peak, k.compute_ns / 1e3,
          k.dma_ns / 1e3);
    }
    const Copies& c = device.copies;
    text = format(
        "{\"chip\": \"%s\", \"modelled_us\": %.3f, \"copies\": {\"h2d\": %lld, \"d2h\": %lld, \"d2d\": %lld, \"modelled_us\": %.3f}, "
        "\"graphs\": {\"launches\": %lld, \"modelled_us\": %.3f}, \"kernels\": {%s}}",
        device.chip->name, total / 1e3, (long long)c.h2d, (long long)c.d2h, (long long)c.d2d, c.modelled_ns / 1e3,
        (long long)device.graphs.launches, device.graphs.modelled_ns / 1e3, kernels.c_str());
  });
  return text.c_str();
}

int xpu_sim_reset_counters(void) {
  return guarded(__func__, [&] {
    Device& device = current_device();
    drain_device(device);
    device.kernels.clear();
    device.copies = Copies();
    device.graphs = Graphs();
  });
}
}
