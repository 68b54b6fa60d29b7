// One call of the kernel library: what it takes, and the function that checks and makes it.
#ifndef OARLOCK_XPU_STEPS_H_
#define OARLOCK_XPU_STEPS_H_

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "plugin.h"

namespace oarlock_xpu {

// A tensor of the device that was checked: contiguous, of this device, where it says.
struct View {
  const char* role;
  char* data = nullptr;
  std::vector<int64_t> shape;
  DLDataType dtype{};

  int rank() const { return static_cast<int>(shape.size()); }
  int64_t size() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return n;
  }
  int64_t from(int axis) const {  // elements of the dims from `axis` on
    int64_t n = 1;
    for (int i = axis; i < rank(); ++i) n *= shape[i];
    return n;
  }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

// {"api": "softmax", "inputs": ["x"], "axis": -1, …}, read once when a model is loaded.
struct Step {
  explicit Step(std::string symbol, const ffi::json::Object& fields);

  std::string symbol, api;
  std::vector<std::string> inputs;  // roles, in the order of the arguments; the result comes after them
  std::map<std::string, std::vector<int64_t>> ints;
  std::map<std::string, double> numbers;
  std::map<std::string, std::string> texts;

  int64_t integer(const char* name) const;
  int64_t integer(const char* name, int64_t otherwise) const { return ints.count(name) ? ints.at(name).at(0) : otherwise; }
  double number(const char* name, double otherwise) const { return numbers.count(name) ? numbers.at(name) : otherwise; }
  std::vector<int> list(const char* name, size_t count = 0) const;  // of `count` ints; 0: of any number
  api::Activation_t activation() const;
};

struct Call {
  const Step& step;
  std::vector<View> inputs;
  View output;
  api::Context* context;

  const View* find(const char* role) const;
  const View& get(const char* role) const;
  const View& need_float(const char* role) const;
  [[noreturn]] void fail(const std::string& what) const;
  void need(bool condition, const char* what) const {
    if (!condition) fail(what);
  }
  std::string shapes() const;
};

using Handler = int (*)(const Call&);          // an Error_t of the library
Handler find_handler(const std::string& api);  // nullptr for none
std::vector<std::string> handler_names();
void register_handlers(std::map<std::string, Handler>& handlers);  // steps_compute.cc
void register_moves(std::map<std::string, Handler>& handlers);     // steps_rows.cc

}  // namespace oarlock_xpu
#endif  // OARLOCK_XPU_STEPS_H_
