// What runs a kernel: cores as fibres on the calling thread, their memories, their DMA.
#ifndef XPU_RUNTIME_CORE_H_
#define XPU_RUNTIME_CORE_H_

#include <setjmp.h>
#include <ucontext.h>

#include "sim.h"

namespace xpu_sim {

struct Place {
  const char* file;
  int line;
};

// Memory that a kernel declared.
struct Buffer {
  char* address;
  int64_t size;
  const char* name;
  Place place;
  bool covers(const char* at, int64_t bytes) const { return at >= address && at <= address + size && bytes <= address + size - at; }
};

// A transfer that was started and not fenced: it lands at the fence.
struct Flight {
  bool load;  // into local or shared memory
  char* global;
  char* local;
  int64_t size;
  Place place;
  std::vector<char> before;  // of a store: what was to be stored
};

struct Cluster;
struct Core {
  XPUCoreIds ids;
  Cluster* cluster;
  char* memory;  // local memory, or a matrix unit's buffer
  int64_t top = 0, peak = 0;
  std::vector<Buffer> locals;
  std::vector<Flight> flights;
  std::string late;           // a fault found where nothing can be thrown from
  Place waiting{nullptr, 0};  // the barrier that it stands at
  bool ended = false;
  int epoch = 0;                 // barriers passed
  double now = 0, dma_free = 0;  // its timeline, ns
};

// Who touched a byte of shared memory last, since which barrier.
struct SharedByte {
  int16_t writer = -1, reader = -1;
  int32_t written = -1, read = -1;  // epochs
};

// One access of global memory in a checked launch.
struct Access {
  const char* start;
  const char* end;
  bool write;
  int cluster, core, epoch;
  Place place;
};

struct Cluster {
  int number;
  std::vector<Core> cores;
  std::vector<char> shared, local;
  std::vector<Buffer> shares;
  std::vector<SharedByte> shadow;  // of a checked kernel
  int64_t shared_top = 0;
};

struct Running {
  const Launch* launch;
  KernelCounters counters;
  std::vector<Access> accesses;
  Ranges tensors;  // that the kernel itself told
  std::string fault;
  double core_bytes_ns_gm, core_bytes_ns_l3;  // what one core moves in a nanosecond
  int64_t capacity;                           // of a core's memory
};

extern thread_local Running* running;
extern thread_local Core* current;
Core& core_or_abort(const char* what, const char* file, int line);

// ranges.cc: the emulator's pointer to what a transfer moves; nullptr, and the reason, where the kernel may not touch it.
char* reach(const void* address, int64_t size, bool write, std::string* why);

// check.cc
void note_access(const char* global, int64_t size, bool write, Place place);
void note_shared(const char* at, int64_t size, bool write, Place place);
std::string find_global_race(std::vector<Access>& accesses);

std::string at(const Place& place);  // "scale.cc:12"

}  // namespace xpu_sim
#endif  // XPU_RUNTIME_CORE_H_
