// Chips, devices and errors.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

namespace xpu_sim {
namespace {
constexpr Chip kChips[] = {
#define XPU_CHIP(name, title, clusters, cores, sdnn, max_ptr, lm, sm, sdnn_mem, l3, gm, gm_gbs, l3_gbs, mhz, launch_us, f32, i16, i8, \
                 replay_us, move_part, mac_part)                                                                                      \
  {#name, title, clusters, cores, sdnn, max_ptr, lm, sm, sdnn_mem, l3, gm, gm_gbs, l3_gbs, mhz, launch_us, f32, i16, i8,                  \
   replay_us, move_part, mac_part},
#include "xpu/chips.def"
#undef XPU_CHIP
};

std::string from_environment(const char* name, const char* otherwise) {
  const char* value = getenv(name);
  return value && *value ? value : otherwise;
}

constexpr int kMostDevices = 16;
std::string configured_chip;
int configured_count = 0;
std::vector<std::unique_ptr<Device>>* all = nullptr;  // never destroyed: a session may outlive static objects
}  // namespace

const Chip* find_chip(const std::string& name) {
  for (const Chip& chip : kChips)
    if (name == chip.name) return &chip;
  return nullptr;
}

std::string chip_names() {
  std::string names;
  for (const Chip& chip : kChips) names += (names.empty() ? "" : ", ") + std::string(chip.name);
  return names;
}

std::string format(const char* pattern, ...) {
  va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  int size = vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::string text(size > 0 ? size : 0, '\0');
  vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  return text;
}

void fail(int code, std::string text) { throw Error{code, std::move(text)}; }

std::recursive_mutex& lock() {
  static auto* mutex = new std::recursive_mutex();
  return *mutex;
}

Device::Device(int number, const Chip* chip)
    : number(number), chip(chip), main("GDDR", chip->gm), l3("L3", chip->l3), default_stream{this, {}, 0, 0, {XPU_SUCCESS, ""}, false, {}} {}

bool& is_dry() {
  static bool dry = false;
  return dry;
}

int& supposed_operands() {
  static int bytes = 4;
  return bytes;
}

std::vector<std::unique_ptr<Device>>& devices() {
  if (!all) {
    std::string name = configured_chip.empty() ? from_environment("XPU_SIM_CHIP", "r200") : configured_chip;
    const Chip* chip = find_chip(name);
    if (!chip) fail(XPUERR_INVALID_DEVICE, format("there is no chip %s (XPU_SIM_CHIP): use one of %s", name.c_str(), chip_names().c_str()));
    int count = configured_count ? configured_count : atoi(from_environment("XPU_SIM_DEVICES", "1").c_str());
    if (count < 1 || count > kMostDevices)
      fail(XPUERR_INVALID_DEVICE, format("XPU_SIM_DEVICES is %d: use a number from 1 to %d", count, kMostDevices));
    auto made = std::make_unique<std::vector<std::unique_ptr<Device>>>();
    for (int i = 0; i < count; ++i) made->push_back(std::make_unique<Device>(i, chip));
    all = made.release();
    install_guard();
  }
  return *all;
}

int& current_device_number() {
  thread_local int number = 0;
  return number;
}

Device& current_device() {
  auto& every = devices();
  if (current_device_number() >= static_cast<int>(every.size())) current_device_number() = 0;  // the emulator became a smaller one
  return *every[current_device_number()];
}

void configure(const std::string& chip, int count) {
  if (!find_chip(chip)) fail(XPUERR_INVALID_PARAM, format("there is no chip %s: use one of %s", chip.c_str(), chip_names().c_str()));
  if (count < 1 || count > kMostDevices) fail(XPUERR_INVALID_PARAM, format("%d devices: use a number from 1 to %d", count, kMostDevices));
  if (all) {
    for (const auto& device : *all)
      if (device->main.used() || device->l3.used() || !device->streams.empty())
        fail(XPUERR_BUSY, format("device %d is in use: it holds memory or streams", device->number));
    delete all;
    all = nullptr;
  }
  configured_chip = chip;
  configured_count = count;
}

}  // namespace xpu_sim
