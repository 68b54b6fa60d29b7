// What the emulator has beside the C API (xpu/sim.h): which chip it is, what it counts.
#include "api.h"

namespace xpu_sim {
void configure(const std::string& chip, int count);
}

using namespace xpu_sim;

extern "C" {

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
          "%s\"%s\": {\"launches\": %lld, \"replayed\": %lld, \"modelled_us\": %.3f, \"gm_read\": %lld, \"gm_written\": %lld, "
          "\"l3_read\": %lld, \"l3_written\": %lld, \"dma\": %lld, \"ops\": %lld, \"macs\": %lld, \"barriers\": %lld, \"lm_peak\": %lld, "
          "\"sm_peak\": %lld, \"compute_us\": %.3f, \"dma_us\": %.3f}",
          kernels.empty() ? "" : ", ", name.c_str(), (long long)k.launches, (long long)k.replayed, k.modelled_ns / 1e3,
          (long long)k.gm_read, (long long)k.gm_written, (long long)k.l3_read, (long long)k.l3_written, (long long)k.dma, (long long)k.ops,
          (long long)k.macs, (long long)k.barriers, (long long)k.lm_peak, (long long)k.sm_peak, k.compute_ns / 1e3, k.dma_ns / 1e3);
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
