// What the functions of the C API share.
#ifndef XPU_RUNTIME_API_H_
#define XPU_RUNTIME_API_H_

#include "sim.h"

namespace xpu_sim {

std::string& last_error();  // of this thread

// Runs a function of the API: takes the lock, and makes an error code of what is thrown.
template <typename Body>
int guarded(const char* name, Body body) {
  Api api(name);
  std::lock_guard<std::recursive_mutex> guard(lock());
  try {
    body();
    return XPU_SUCCESS;
  } catch (const Error& error) {
    last_error() = std::string(name) + ": " + error.text;
    return error.code;
  } catch (const std::bad_alloc&) {
    last_error() = std::string(name) + ": the host is out of memory";
    return XPUERR_SYSTEM;
  }
}

// These fail with the API's errors.
Device& device_of(int number);
void need(bool condition, const char* what);
XPUStreamObj* stream_of(XPUStream stream);  // nullptr: the current device's own

}  // namespace xpu_sim
#endif  // XPU_RUNTIME_API_H_
