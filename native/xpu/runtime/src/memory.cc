// Device memory that the host cannot touch, and who is told what when it tries.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

#include "core.h"
#include "sim.h"

namespace xpu_sim {
namespace {
constexpr int64_t kAlignment = 256;
constexpr int kGarbage = 0xFF;  // what memory holds before it is written: NaN as a float
constexpr int64_t kGiveBack = 1 << 20;

int64_t round_up(int64_t size, int64_t to) { return (size + to - 1) / to * to; }

void* map(int64_t size, int protection, int descriptor) {
  void* at = mmap(nullptr, size, protection, MAP_SHARED | MAP_NORESERVE, descriptor, 0);
  if (at == MAP_FAILED)
    fail(XPUERR_SYSTEM, format("the host has no room for %lld bytes of device memory: %s", (long long)size, strerror(errno)));
  return at;
}
}  // namespace

Memory::Memory(const char* title, int64_t size) : title_(title), size_(size) {
  descriptor_ = memfd_create(title, MFD_CLOEXEC);
  if (descriptor_ < 0 || ftruncate(descriptor_, size))
    fail(XPUERR_SYSTEM, format("the host gives no memory for the device's %s: %s", title, strerror(errno)));
  pages_ = static_cast<char*>(map(size, PROT_READ | PROT_WRITE, descriptor_));
  window_ = static_cast<char*>(map(size, PROT_NONE, descriptor_));
}

Memory::~Memory() {
  munmap(window_, size_);
  munmap(pages_, size_);
  close(descriptor_);
}

char* Memory::allocate(int64_t size, uint64_t number) {
  // a gap between neighbours, so that an address behind one allocation is not in the next
  int64_t reserved = round_up(size < 1 ? 1 : size, kAlignment) + kAlignment;
  char* at = window_;
  for (const auto& [address, allocation] : live_) {
    if (address - at >= reserved) break;
    at = address + allocation.reserved;
  }
  if (at + reserved > window_ + size_) return nullptr;
  live_[at] = {at, size, reserved, number, 1};
  used_ += reserved;
  memset(host(at), kGarbage, size);
  return at;
}

void Memory::release(std::map<char*, Allocation>::iterator at) {
  const Allocation& a = at->second;
  if (a.reserved >= kGiveBack) {
    int64_t page = sysconf(_SC_PAGESIZE), start = round_up(a.address - window_, page);
    int64_t end = (a.address - window_ + a.reserved) / page * page;
    if (end > start) fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, end - start);
  }
  used_ -= a.reserved;
  live_.erase(at);
}

const Allocation* Memory::near(const void* address) const {
  auto after = live_.upper_bound(static_cast<char*>(const_cast<void*>(address)));
  return after == live_.begin() ? nullptr : &std::prev(after)->second;
}

std::string describe(const void* address) {
  for (const auto& device : devices()) {
    Memory* memory = device->of(address);
    if (!memory) continue;
    const Allocation* a = memory->near(address);
    if (!a) return format("no allocation (%s of device %d)", memory->title(), device->number);
    long long offset = static_cast<const char*>(address) - a->address;
    std::string place = format("allocation #%llu (%s of device %d, %lld bytes at %p)", (unsigned long long)a->number, memory->title(),
                               device->number, (long long)a->size, (void*)a->address);
    if (offset < a->size) return format("%lld bytes into %s", offset, place.c_str());
    return format("%lld bytes past the end of %s", offset - (long long)a->size, place.c_str());
  }
  return "no memory of any device";
}

char* lookup(Device& device, const void* address, int64_t size) {
  Memory* memory = device.of(address);
  const Allocation* a = memory ? memory->near(address) : nullptr;
  const int64_t offset = a ? static_cast<const char*>(address) - a->address : 0;
  return a && offset <= a->size && size <= a->size - offset ? memory->host(address) : nullptr;
}

std::string why_not(Device& device, const void* address, int64_t size) {
  Memory* memory = device.of(address);
  const Allocation* a = memory ? memory->near(address) : nullptr;
  const int64_t offset = a ? static_cast<const char*>(address) - a->address : 0;
  if (a && offset < a->size)
    return format("%lld bytes at %p end %lld bytes past the end: the address is %s", (long long)size, address,
                  (long long)(offset + size - a->size), describe(address).c_str());
  return format("%lld bytes at %p: the address is %s", (long long)size, address, describe(address).c_str());
}

char* resolve(Device& device, const void* address, int64_t size, const char* who) {
  if (char* found = lookup(device, address, size)) return found;
  fail(XPUERR_INVALID_ADDRESS, format("%s: %s", who, why_not(device, address, size).c_str()));
}

// ---- the guard: a host's load or store in a window is told in full, then goes to whoever handled SIGSEGV before
namespace {
struct sigaction chained;
thread_local const char* api_name = nullptr;

void write_out(const std::string& text) {
  ssize_t ignored = write(2, text.data(), text.size());
  (void)ignored;
}

void on_fault(int signal, siginfo_t* info, void* context) {
  void* address = info->si_addr;
  bool ours = false;
  for (const auto& device : devices()) ours = ours || device->of(address);
  if (ours) {
    if (in_kernel()) {
      kernel_fault(format("touches global memory without DMA: %p is %s", address, describe(address).c_str()));
    }
    const char* api = running_api();
    write_out(format("xpu: the host touched device memory at %p, %s, %s%s. Copy it with xpu_memcpy.\n", address, describe(address).c_str(),
                     api ? "while it ran " : "while it ran no function of the runtime", api ? api : ""));
  }
  if (chained.sa_flags & SA_SIGINFO) {
    chained.sa_sigaction(signal, info, context);
  } else if (chained.sa_handler != SIG_DFL && chained.sa_handler != SIG_IGN) {
    chained.sa_handler(signal);
  } else {
    sigaction(signal, &chained, nullptr);  // the access is made again, and ends the process as it would have
  }
}
}  // namespace

void install_guard() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    // not deferred: a kernel's fault leaves the handler by a jump
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &chained);
  });
}

Api::Api(const char* name) : before(api_name) { api_name = name; }
Api::~Api() { api_name = before; }
const char* running_api() { return api_name; }

}  // namespace xpu_sim
