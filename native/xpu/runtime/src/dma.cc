// Local and shared memory, and the transfers between them and global memory.
#include <string.h>

#include <algorithm>

#include "core.h"

namespace xpu_sim {
namespace {
constexpr double kDmaLatency = 100;  // ns; assumed
constexpr char kPoison = static_cast<char>(0xFF);
const char* const kNames[] = {"GM2LM", "LM2GM", "GM2SM", "SM2GM"};

bool overlap(const char* a, int64_t na, const char* b, int64_t nb) { return a < b + nb && b < a + na; }

// A transfer, for messages: text is made only where something is wrong.
struct Transfer {
  int kind, async;
  Place place;
  std::string text() const { return format("%s%s at %s", kNames[kind], async ? "_ASYNC" : "", at(place).c_str()); }
};

char* global_memory(const void* address, int64_t size, bool write, const Transfer& transfer) {
  std::string why;
  if (char* found = reach(address, size, write, &why)) return found;
  kernel_fault(transfer.text() + ": " + why);
}

void check_local(const Core& core, bool shared, const char* address, int64_t size, const Transfer& transfer) {
  const auto& buffers = shared ? core.cluster->shares : core.locals;
  const char* memory = shared ? "shared" : "local";
  for (const Buffer& b : buffers) {
    if (b.covers(address, size)) return;
    if (address >= b.address && address < b.address + b.size)
      kernel_fault(format("%s: %lld bytes from byte %lld of %s memory '%s' (%s), which has %lld bytes", transfer.text().c_str(),
                          (long long)size, (long long)(address - b.address), memory, b.name, at(b.place).c_str(), (long long)b.size));
  }
  kernel_fault(format("%s: the address is in no %s memory that the kernel declared", transfer.text().c_str(), memory));
}

void check_flights(const Core& core, const char* global, bool global_written, const char* local, bool local_written, int64_t size,
                   const Transfer& transfer) {
  for (const Flight& f : core.flights) {
    const char* started = f.load ? "load" : "store";
    if (overlap(f.local, f.size, local, size) && (f.load || local_written))
      kernel_fault(format("%s: a fence is missing: it uses local memory of the asynchronous %s that was started at %s",
                          transfer.text().c_str(), started, at(f.place).c_str()));
    if (overlap(f.global, f.size, global, size) && (!f.load || global_written))
      kernel_fault(format("%s: a fence is missing: it uses global memory of the asynchronous %s that was started at %s",
                          transfer.text().c_str(), started, at(f.place).c_str()));
  }
}

void count(const void* address, int64_t size, bool load) {
  KernelCounters& c = running->counters;
  const bool l3 = running->launch->device->l3.has(address);
  ++c.dma;
  (l3 ? load ? c.l3_read : c.l3_written : load ? c.gm_read : c.gm_written) += size;
}

double duration(const void* address, int64_t size) {
  return kDmaLatency + size / (running->launch->device->l3.has(address) ? running->core_bytes_ns_l3 : running->core_bytes_ns_gm);
}

bool all_poison(const char* at, int64_t size) { return size == 0 || (*at == kPoison && memcmp(at, at + 1, size - 1) == 0); }
}  // namespace
}  // namespace xpu_sim

using namespace xpu_sim;

extern "C" {

void xpu_emu_dma(int kind, int async, const void* from, void* to, int64_t size, const char* file, int line) {
  Core& core = core_or_abort(kNames[kind], file, line);
  const Place place{file, line};
  const Transfer transfer{kind, async, place};
  const bool load = kind == xpu_emu::kGM2LM || kind == xpu_emu::kGM2SM, shared = kind == xpu_emu::kGM2SM || kind == xpu_emu::kSM2GM;
  if (size < 0) kernel_fault(format("%s: the size is %lld bytes", transfer.text().c_str(), (long long)size));
  if (size == 0) return;
  const void* address = load ? from : to;
  char* global = global_memory(address, size, !load, transfer);
  char* local = static_cast<char*>(load ? to : const_cast<void*>(from));
  check_local(core, shared, local, size, transfer);
  if (!core.flights.empty()) check_flights(core, global, !load, local, load, size, transfer);
  if (running->launch->kernel->is_checked) {
    note_access(global, size, !load, place);
    if (shared) note_shared(local, size, load, place);
  }
  count(address, size, load);
  double start = std::max(core.now, core.dma_free);
  core.dma_free = start + duration(address, size);
  if (!async) {
    memcpy(load ? local : global, load ? global : local, size);
    core.now = core.dma_free;
    return;
  }
  Flight flight{load, global, local, size, place, {}};
  if (load) {
    memset(local, kPoison, size);  // what is read too early is no number
  } else {
    flight.before.assign(local, local + size);
  }
  core.flights.push_back(std::move(flight));
}

void xpu_emu_fence(const char* file, int line) {
  Core& core = core_or_abort("mfence", file, line);
  for (Flight& f : core.flights) {
    if (f.load) {
      if (!all_poison(f.local, f.size))
        kernel_fault(format("local memory was written between the asynchronous load at %s and its mfence at %s", at(f.place).c_str(),
                            at({file, line}).c_str()));
      memcpy(f.local, f.global, f.size);
    } else {
      if (memcmp(f.before.data(), f.local, f.size) != 0)
        kernel_fault(format("local memory was written between the asynchronous store at %s and its mfence at %s", at(f.place).c_str(),
                            at({file, line}).c_str()));
      memcpy(f.global, f.local, f.size);
    }
  }
  core.flights.clear();
  core.now = std::max(core.now, core.dma_free);
}

void* xpu_emu_local(size_t size, const char* name, const char* file, int line) {
  Core& core = core_or_abort("XPU_LOCAL", file, line);
  const int64_t bytes = static_cast<int64_t>(size), taken = (bytes + 63) / 64 * 64;
  const bool sdnn = running->launch->kernel->is_sdnn;
  if (bytes < 0 || taken > running->capacity - core.top)
    kernel_fault(format("%s overflows: '%s' at %s takes %lld bytes, and %lld of %lld are taken",
                        sdnn ? "the matrix unit's buffer" : "local memory", name, at({file, line}).c_str(), (long long)bytes,
                        (long long)core.top, (long long)running->capacity));
  char* memory = core.memory + core.top;
  core.top += taken;
  core.peak = std::max(core.peak, core.top);
  core.locals.push_back({memory, bytes, name, {file, line}});
  memset(memory, kPoison, bytes);
  return memory;
}

void xpu_emu_local_end(void* memory) {
  if (!current || current->locals.empty() || current->locals.back().address != memory) return;
  Core& core = *current;
  const Buffer& b = core.locals.back();
  for (const Flight& f : core.flights)
    if (core.late.empty() && overlap(f.local, f.size, b.address, b.size))
      core.late = format("local memory '%s' (%s) ends before the mfence of the transfer that was started at %s", b.name,
                         at(b.place).c_str(), at(f.place).c_str());
  core.top = static_cast<char*>(memory) - core.memory;
  core.locals.pop_back();
}

void* xpu_emu_shared(size_t size, const char* name, const char* file, int line) {
  Core& core = core_or_abort("XPU_SHARED", file, line);
  Cluster& cluster = *core.cluster;
  for (const Buffer& b : cluster.shares)
    if (b.place.line == line && strcmp(b.place.file, file) == 0 && strcmp(b.name, name) == 0) return b.address;
  const int64_t bytes = static_cast<int64_t>(size), taken = (bytes + 63) / 64 * 64, capacity = running->launch->device->chip->sm;
  if (bytes < 0 || taken > capacity - cluster.shared_top)
    kernel_fault(format("shared memory overflows: '%s' at %s takes %lld bytes, and %lld of %lld are taken", name, at({file, line}).c_str(),
                        (long long)bytes, (long long)cluster.shared_top, (long long)capacity));
  if (cluster.shares.empty()) {
    cluster.shared.assign(capacity + 64, kPoison);
    cluster.shadow.assign(running->launch->kernel->is_checked ? capacity : 0, SharedByte());
  }
  char* base = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(cluster.shared.data()) + 63) / 64 * 64);
  cluster.shares.push_back({base + cluster.shared_top, bytes, name, {file, line}});
  cluster.shared_top += taken;
  return cluster.shares.back().address;
}
}
