// What a checked kernel (-DXPU_CHECKED, and the compiler's calls at every access of memory) is looked at for: accesses past its memory or
// before a fence, and races of cores over shared and global memory.
//
// The calls are those of GCC's and Clang's -fsanitize=kernel-address with --param asan-instrumentation-with-call-threshold=0, which ask a
// function per access and need nothing else of a sanitizer.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>

#include "core.h"

namespace xpu_sim {
namespace {

// Where a call came from: "scale.cc:12" by the debug information, else the function.
std::string source_of(const void* caller) {
  Dl_info info;
  if (!dladdr(caller, &info) || !info.dli_fname) return "an unknown line";
  const long offset = static_cast<const char*>(caller) - static_cast<const char*>(info.dli_fbase) - 1;
  std::string line;
  if (FILE* pipe = popen(format("addr2line -s -e '%s' 0x%lx 2>/dev/null", info.dli_fname, offset).c_str(), "r")) {
    char text[256];
    if (fgets(text, sizeof(text), pipe)) line = std::string(text, strcspn(text, "\n ("));
    pclose(pipe);
  }
  if (!line.empty() && line.find('?') == std::string::npos) return line;
  return info.dli_sname ? format("%s+0x%lx", info.dli_sname, (long)((const char*)caller - (const char*)info.dli_saddr)) : "an unknown line";
}

[[noreturn]] void fault_at(const void* caller, const char* verb, int64_t size, const std::string& what) {
  kernel_fault(format("%s of %lld bytes at %s %s", verb, (long long)size, source_of(caller).c_str(), what.c_str()));
}

const Buffer* covering(const std::vector<Buffer>& buffers, const char* address, int64_t size) {
  for (const Buffer& b : buffers)
    if (b.covers(address, size)) return &b;
  return nullptr;
}

void check_access(const char* address, int64_t size, bool write, const void* caller) {
  if (!current) return;
  Core& core = *current;
  Cluster& cluster = *core.cluster;
  const char* verb = write ? "a write" : "a read";
  if (address >= cluster.local.data() && address < cluster.local.data() + cluster.local.size()) {
    if (!covering(core.locals, address, size)) {
      for (const Buffer& b : core.locals)
        if (address >= b.address && address <= b.address + b.size + 63)
          fault_at(caller, verb, size,
                   format("leaves local memory '%s' (%s), which has %lld bytes: it is at byte %lld", b.name, at(b.place).c_str(),
                          (long long)b.size, (long long)(address - b.address)));
      fault_at(caller, verb, size, "is in no local memory of this core");
    }
    for (const Flight& f : core.flights)
      if (address < f.local + f.size && f.local < address + size && (f.load || write))
        fault_at(caller, verb, size,
                 format("comes before the fence of the asynchronous %s that was started at %s: call mfence() first",
                        f.load ? "load" : "store", at(f.place).c_str()));
    return;
  }
  const char* shared = cluster.shared.data();
  if (!cluster.shares.empty() && address >= shared && address < shared + cluster.shared.size()) {
    if (!covering(cluster.shares, address, size)) fault_at(caller, verb, size, "is in no shared memory that the kernel declared");
    note_shared(address, size, write, {nullptr, 0});
  }
}

std::string race_text(const char* memory, const char* first, int first_cluster, int first_core, const char* second, int second_cluster,
                      int second_core) {
  return format("a race over %s memory: %s by cluster %d, core %d, and %s by cluster %d, core %d, with no barrier between them", memory,
                first, first_cluster, first_core, second, second_cluster, second_core);
}
}  // namespace

void note_access(const char* global, int64_t size, bool write, Place place) {
  running->accesses.push_back({global, global + size, write, current->ids.cluster, current->ids.core, current->epoch, place});
}

void note_shared(const char* address, int64_t size, bool write, Place) {
  Core& core = *current;
  Cluster& cluster = *core.cluster;
  if (cluster.shadow.empty()) return;
  const char* base = cluster.shares.front().address;
  for (int64_t i = address - base, end = i + size; i < end; ++i) {
    SharedByte& b = cluster.shadow[i];
    const int me = core.ids.core;
    const bool after_write = b.written == core.epoch && b.writer != me, after_read = b.read == core.epoch && b.reader != me;
    if (after_write || (write && after_read))
      kernel_fault(race_text("shared", after_write ? "written" : "read", cluster.number, after_write ? b.writer : b.reader,
                             write ? "written" : "read", cluster.number, me));
    if (write) {
      b.writer = static_cast<int16_t>(me);
      b.written = core.epoch;
    } else if (b.read != core.epoch || b.reader == me || b.reader < 0) {
      b.reader = static_cast<int16_t>(me);
      b.read = core.epoch;
    } else {
      b.reader = INT16_MAX;  // several cores
    }
  }
}

std::string find_global_race(std::vector<Access>& accesses) {
  std::sort(accesses.begin(), accesses.end(), [](const Access& a, const Access& b) { return a.start < b.start; });
  std::vector<const Access*> open;
  for (const Access& a : accesses) {
    open.erase(std::remove_if(open.begin(), open.end(), [&](const Access* o) { return o->end <= a.start; }), open.end());
    for (const Access* o : open) {
      const bool same_core = o->cluster == a.cluster && o->core == a.core, ordered = o->cluster == a.cluster && o->epoch != a.epoch;
      if ((o->write || a.write) && !same_core && !ordered)
        return race_text("global", format("%s at %s", o->write ? "written" : "read", at(o->place).c_str()).c_str(), o->cluster, o->core,
                         format("%s at %s", a.write ? "written" : "read", at(a.place).c_str()).c_str(), a.cluster, a.core);
    }
    if (a.write || open.size() < 64) open.push_back(&a);  // many readers of one thing: the first ones do
  }
  return "";
}

}  // namespace xpu_sim

extern "C" {
#define XPU_ACCESS(size)                                                                          \
  XPU_API void __asan_load##size##_noabort(const void* a) {                                       \
    xpu_sim::check_access(static_cast<const char*>(a), size, false, __builtin_return_address(0)); \
  }                                                                                               \
  XPU_API void __asan_store##size##_noabort(const void* a) {                                      \
    xpu_sim::check_access(static_cast<const char*>(a), size, true, __builtin_return_address(0));  \
  }
XPU_ACCESS(1)
XPU_ACCESS(2)
XPU_ACCESS(4)
XPU_ACCESS(8)
XPU_ACCESS(16)
#undef XPU_ACCESS
XPU_API void __asan_loadN_noabort(const void* a, size_t size) {
  xpu_sim::check_access(static_cast<const char*>(a), static_cast<int64_t>(size), false, __builtin_return_address(0));
}
XPU_API void __asan_storeN_noabort(const void* a, size_t size) {
  xpu_sim::check_access(static_cast<const char*>(a), static_cast<int64_t>(size), true, __builtin_return_address(0));
}
XPU_API void __asan_handle_no_return(void) {}
}
