// What a launch may touch: the tensors that its caller told, or the kernel itself.  Allocations alone would not do: many tensors share one,
// at places that others take at other times, so ranges are kept with launches and not with memory.
#include <algorithm>

#include "core.h"

namespace xpu_sim {
namespace {
thread_local std::shared_ptr<Ranges> of_launches;

// Whether some of the ranges has all of [address, address + size).
bool covered(const Ranges& ranges, const char* address, int64_t size, bool write) {
  auto after = std::upper_bound(ranges.all.begin(), ranges.all.end(), address, [](const char* a, const Range& r) { return a < r.address; });
  while (after != ranges.all.begin()) {
    const Range& r = *--after;
    if (size <= r.size && address - r.address <= r.size - size && (r.writable || !write)) return true;
  }
  return false;
}

// Why a transfer is wrong, by the range that it begins in, else by the last one before it in the same allocation.
std::string trouble(const Ranges& ranges, const char* address, int64_t size) {
  const Range* near = nullptr;
  for (const Range& r : ranges.all) {
    if (r.address > address) break;
    if (!near || address < r.address + r.size || near->address + near->size <= address) near = &r;
  }
  const std::string what = format("%lld bytes at %p", (long long)size, (const void*)address);
  const std::string of = ranges.call.empty() ? "" : " of " + ranges.call;
  Memory* memory = running->launch->device->of(address);
  if (!near || !memory || !memory->has(near->address) || memory->near(address) != memory->near(near->address))
    return format("%s are in none of the tensors%s: the address is %s", what.c_str(), of.c_str(), describe(address).c_str());
  const std::string tensor = format("tensor '%s'%s, which has %lld bytes at %p", near->name.c_str(), of.c_str(), (long long)near->size,
                                    (const void*)near->address);
  const int64_t past = address + size - near->address - near->size;
  if (past <= 0) return format("%s are of %s, and which the kernel may only read", what.c_str(), tensor.c_str());
  return format("%s end %lld bytes past the end of %s", what.c_str(), (long long)past, tensor.c_str());
}
}  // namespace

void Ranges::add(Range range) {
  auto place = std::upper_bound(all.begin(), all.end(), range, [](const Range& a, const Range& b) { return a.address < b.address; });
  all.insert(place, std::move(range));
}

std::shared_ptr<const Ranges> launch_ranges() { return of_launches; }

char* reach(const void* address, int64_t size, bool write, std::string* why) {
  Device& device = *running->launch->device;
  const char* from = static_cast<const char*>(address);
  const Ranges *told = running->launch->ranges.get(), &own = running->tensors;
  if ((told || !own.all.empty()) && !(told && covered(*told, from, size, write)) && !covered(own, from, size, write)) {
    *why = trouble(told ? *told : own, from, size);
    return nullptr;
  }
  char* found = lookup(device, address, size);
  if (!found) *why = why_not(device, address, size);
  return found;
}

}  // namespace xpu_sim

using namespace xpu_sim;

extern "C" {

int xpu_launch_ranges(const char* call, const XPURange* ranges, int count) {
  // launches that were given to a stream keep what they had
  of_launches = count > 0 ? std::make_shared<Ranges>() : nullptr;
  if (count <= 0) return XPU_SUCCESS;
  of_launches->call = call ? call : "";
  for (int i = 0; i < count; ++i) xpu_launch_range_add(ranges + i);
  return XPU_SUCCESS;
}

int xpu_launch_range_add(const XPURange* range) {
  if (!of_launches || !range->size) return XPU_SUCCESS;
  if (of_launches.use_count() > 1) of_launches = std::make_shared<Ranges>(*of_launches);
  of_launches->add({static_cast<const char*>(range->address), static_cast<int64_t>(range->size), range->name, range->writable != 0});
  return XPU_SUCCESS;
}

void xpu_emu_tensor(const void* address, int64_t size, const char* name) {
  core_or_abort("XPU_TENSOR", "?", 0);
  const char* from = static_cast<const char*>(address);
  auto& known = running->tensors.all;
  if (std::any_of(known.begin(), known.end(), [&](const Range& r) { return r.address == from && r.size == size; })) return;
  running->tensors.add({from, size, name, true});
}
}
