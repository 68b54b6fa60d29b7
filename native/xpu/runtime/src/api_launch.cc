// The C API over the emulator: modules and launches.
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api.h"

namespace xpu_sim {
namespace {
constexpr size_t kMostArguments = 4096;

struct LaunchState {
  bool configured = false;
  int clusters = 0, cores = 0;
  XPUStream stream = nullptr;
  std::vector<char> arguments;
};
thread_local LaunchState launching;
}  // namespace
}  // namespace xpu_sim

using namespace xpu_sim;

extern "C" {

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
    Launch launch{stream->device, func, state.clusters, state.cores, std::move(state.arguments), stream->capturing, launch_ranges()};
    submit(stream, [launch = std::move(launch)] { run_kernel(launch); });
  });
}
}
