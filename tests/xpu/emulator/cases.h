// What the emulator's test programs share: a main that runs the case that the command line names and prints the runtime's last error.
#pragma once
#include <stdio.h>
#include <string.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "xpu/kernel/sdnn.h"
#include "xpu/kernel/xtdk.h"
#include "xpu/runtime.h"
#include "xpu/sim.h"

using Cases = std::map<std::string, std::function<int()>>;

inline float* on_device(const std::vector<float>& values, XPUMemoryKind kind = XPU_MEM_MAIN) {
  void* memory = nullptr;
  if (xpu_malloc(&memory, values.size() * 4, kind)) return nullptr;
  if (xpu_memcpy(memory, values.data(), values.size() * 4, XPU_HOST_TO_DEVICE)) return nullptr;
  return static_cast<float*>(memory);
}

inline std::vector<float> on_host(const float* memory, size_t count) {
  std::vector<float> values(count);
  xpu_memcpy(values.data(), memory, count * 4, XPU_DEVICE_TO_HOST);
  return values;
}

inline std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  return values;
}

inline int main_of(int argc, char** argv, const Cases& cases) {
  if (argc != 2 || !cases.count(argv[1])) {
    fprintf(stderr, "which case?\n");
    return 2;
  }
  if (xpu_sim_configure("sim", 2)) return 2;
  int status = cases.at(argv[1])();
  printf("%d %s\n", status, status ? xpu_last_error_text() : "");
  return 0;
}
