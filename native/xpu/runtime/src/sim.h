// The emulator's own view of its devices.  One lock guards it all: the host's threads take turns, as they would at a driver's door.
#ifndef XPU_RUNTIME_SIM_H_
#define XPU_RUNTIME_SIM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "xpu/kernel/xtdk.h"
#include "xpu/runtime.h"
#include "xpu/sim.h"

namespace xpu_sim {

struct Chip {
  const char* name;
  const char* title;
  int clusters, cores, sdnn, max_ptr;
  int64_t lm, sm, sdnn_mem, l3, gm;
  double gm_gbs, l3_gbs, mhz, launch_us, f32, i16, i8, replay_us, move_part, mac_part;
  double gm_rate() const { return gm_gbs * move_part; }  // bytes a nanosecond that programs reach
  double l3_rate() const { return l3_gbs * move_part; }
};
const Chip* find_chip(const std::string& name);  // nullptr for none
std::string chip_names();

// ---- errors
struct Error {
  int code;
  std::string text;
};
[[noreturn]] void fail(int code, std::string text);
std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));

// ---- memory
struct Allocation {
  char* address;
  int64_t size;      // what was asked for
  int64_t reserved;  // what it takes
  uint64_t number;   // of all allocations of the process, from 1
  double factor = 1;  // of its bytes, those that are counted
};

// Memory of one kind.  Device addresses lie in a window that nobody may touch; the emulator has the same pages in a second one.
class Memory {
 public:
  Memory(const char* title, int64_t size);
  ~Memory();
  Memory(const Memory&) = delete;
  char* allocate(int64_t size, uint64_t number);  // nullptr where there is no room
  void release(std::map<char*, Allocation>::iterator at);
  bool has(const void* address) const { return address >= window_ && address < window_ + size_; }
  // The allocation that an address is in or, in the gap behind one, behind; nullptr before the first.
  const Allocation* near(const void* address) const;
  char* host(const void* address) const { return pages_ + (static_cast<const char*>(address) - window_); }
  std::map<char*, Allocation>::iterator find(void* address) { return live_.find(static_cast<char*>(address)); }
  std::map<char*, Allocation>::iterator none() { return live_.end(); }
  const char* title() const { return title_; }
  int64_t size() const { return size_; }
  int64_t used() const { return used_; }

 private:
  const char* title_;
  int64_t size_, used_ = 0;
  char *window_, *pages_;
  int descriptor_;
  std::map<char*, Allocation> live_;
};

// ---- counters
struct KernelCounters {
  int64_t launches = 0, replayed = 0, gm_read = 0, gm_written = 0, l3_read = 0, l3_written = 0, dma = 0, ops = 0, macs = 0, barriers = 0;
  int64_t lm_peak = 0, sm_peak = 0;
  double modelled_ns = 0, compute_ns = 0, dma_ns = 0;
};

struct Graphs {
  int64_t launches = 0;
  double modelled_ns = 0;
};

struct Copies {
  int64_t h2d = 0, d2h = 0, d2d = 0;
  double modelled_ns = 0;
};

}  // namespace xpu_sim

// ---- what the handles of the API are
namespace xpu_sim {
struct Device;
}
struct XPUStreamObj {
  xpu_sim::Device* device;
  std::deque<std::function<void()>> jobs;
  uint64_t given = 0, done = 0;  // jobs
  xpu_sim::Error failed{XPU_SUCCESS, ""};
  bool capturing = false;
  std::vector<std::function<void()>> recorded;
};
struct XPUGraphObj {
  std::shared_ptr<const std::vector<std::function<void()>>> jobs;
};
struct XPUEventObj {
  XPUStreamObj* stream = nullptr;  // nullptr: never recorded, or its stream is gone and with it all work
  uint64_t after = 0;              // done when the stream has done so many jobs
};
struct XPUModuleObj {
  void* library;
  int descriptor;
};

namespace xpu_sim {

struct Device {
  Device(int number, const Chip* chip);
  int number;
  const Chip* chip;
  Memory main, l3;
  XPUStreamObj default_stream;
  std::vector<XPUStreamObj*> streams;  // others
  std::map<std::string, KernelCounters> kernels;
  Copies copies;
  Graphs graphs;

  Memory* of(const void* address) { return main.has(address) ? &main : l3.has(address) ? &l3 : nullptr; }
};

// Memory that a kernel may touch.
struct Range {
  const char* address;
  int64_t size;
  std::string name;
  bool writable;
};
struct Ranges {
  std::string call;  // whose they are; "" where the kernel said so itself
  std::vector<Range> all;  // by address
  void add(Range range);
};
std::shared_ptr<const Ranges> launch_ranges();  // of this thread's launches; nullptr: whatever is allocated

struct Launch {
  Device* device;
  const XPUKernelInfo* kernel;
  int clusters, cores;
  std::vector<char> arguments;
  bool replayed = false;
  std::shared_ptr<const Ranges> ranges = nullptr;
};

bool& is_dry();
int& supposed_operands();  // bytes
bool& graph_starts();      // the next kernel is the first of a graph, which is launched with it
std::recursive_mutex& lock();
std::vector<std::unique_ptr<Device>>& devices();  // made at the first use
Device& current_device();
int& current_device_number();
// "allocation #3 (GDDR, 4096 bytes at 0x…)", or what there is instead of one.
std::string describe(const void* address);
// The emulator's pointer to [address, address + size) where that is all of one allocation's; nullptr, and the reason, where it is not.
char* lookup(Device& device, const void* address, int64_t size);
std::string why_not(Device& device, const void* address, int64_t size);
// The same; fails with XPUERR_INVALID_ADDRESS, `who` first in the text.
char* resolve(Device& device, const void* address, int64_t size, const char* who);

void run_kernel(const Launch& launch);                    // core.cc: fails with XPUERR_KERNEL_FAULT
bool in_kernel();                                         // whether this thread is inside a kernel
[[noreturn]] void kernel_fault(const std::string& what);  // ends the running kernel: only where in_kernel()
std::string place_of_kernel();                            // "kernel scale (scale.cc:3), cluster 0, core 1"

void submit(XPUStreamObj* stream, std::function<void()> job);
// Do what a stream was given; an error stays with it for the next call that tells (drain, which throws it).
void work(XPUStreamObj* stream, uint64_t until = UINT64_MAX);
void work_device(Device& device);
void drain(XPUStreamObj* stream, uint64_t until = UINT64_MAX);
void drain_device(Device& device);

// Names the API that runs in this thread, for the message of a fault.
struct Api {
  explicit Api(const char* name);
  ~Api();
  const char* before;
};
const char* running_api();
void install_guard();  // the SIGSEGV handler, once

}  // namespace xpu_sim
#endif  // XPU_RUNTIME_SIM_H_
