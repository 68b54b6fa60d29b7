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

  int64_t bytes() const { return size() * ((dtype.bits + 7) / 8); }
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
  std::vector<std::string> inputs;   // roles, in the order of the arguments; results come after them
  std::vector<std::string> outputs;  // roles of results; the first one is the function's own
  std::map<std::string, std::vector<int64_t>> ints;
  std::map<std::string, double> numbers;
  std::map<std::string, std::string> texts;

  int64_t integer(const char* name) const;
  int64_t integer(const char* name, int64_t otherwise) const { return ints.count(name) ? ints.at(name).at(0) : otherwise; }
  double number(const char* name, double otherwise) const { return numbers.count(name) ? numbers.at(name) : otherwise; }
  std::vector<int> list(const char* name, size_t count = 0) const;  // of `count` ints; 0: of any number
  api::Activation_t activation(const char* name = "act") const;  // with its alpha in "<name>_alpha"
};

struct Call {
  const Step& step;
  std::vector<View> inputs;
  View output;                // the first result
  std::vector<View> outputs;  // the others
  api::Context* context;

  const View* find(const char* role) const;
  const View& get(const char* role) const;
  const View& need_float(const char* role) const;
  const float* vector_of(const char* role, int64_t size) const;  // float32; nullptr where there is none
  const float* maxima(const char* role) const;                   // a max pointer; nullptr where there is none
  float* y_max() const;                                          // where the result's max pointer goes, or nullptr
  [[noreturn]] void fail(const std::string& what) const;
  void need(bool condition, const char* what) const {
    if (!condition) fail(what);
  }
  void check_sizes() const;  // those that the compiler left to the call
  std::string shapes() const;
};

using Handler = int (*)(const Call&);          // an Error_t of the library
Handler find_handler(const std::string& api);  // nullptr for none
std::vector<std::string> handler_names();
void register_handlers(std::map<std::string, Handler>& handlers);  // steps_compute.cc
void register_rows(std::map<std::string, Handler>& handlers);      // steps_rows.cc
void register_moves(std::map<std::string, Handler>& handlers);     // steps_moves.cc
void register_fused(std::map<std::string, Handler>& handlers);     // steps_fused.cc

inline bool is_float(const View& view, int bits = 32) { return view.dtype.code == kDLFloat && view.dtype.bits == bits; }
inline bool is_int(const View& view, int bits) { return view.dtype.code == kDLInt && view.dtype.bits == bits; }
inline bool is_bool(const View& view) { return view.dtype.code == kDLBool || (view.dtype.code == kDLUInt && view.dtype.bits == 1); }
inline bool equal(DLDataType a, DLDataType b) { return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes; }

// Calls f with a null pointer of an integer type as large as the elements.
template <typename F>
int by_size(const Call& call, const View& view, F f) {
  switch (view.dtype.bits) {
    case 1:
    case 8:
      return f(static_cast<int8_t*>(nullptr));
    case 16:
      return f(static_cast<int16_t*>(nullptr));
    case 32:
      return f(static_cast<int32_t*>(nullptr));
    case 64:
      return f(static_cast<int64_t*>(nullptr));
    default:
      call.fail("elements of 1, 2, 4 or 8 bytes are needed");
  }
}

// Calls f with a pointer to indices of the type that they have.
template <typename F>
int by_index(const Call& call, const View& index, F f) {
  if (is_int(index, 32)) return f(index.as<int32_t>());
  if (is_int(index, 64)) return f(index.as<int64_t>());
  call.fail("indices are int32 or int64");
}

// Calls f with a pointer to weights of the type that they have.
template <typename F>
int by_weights(const Call& call, const View& w, F f) {
  if (is_float(w)) return f(w.as<float>());
  if (is_float(w, 16)) return f(w.as<api::float16>());
  if (is_int(w, 16)) return f(w.as<int16_t>());
  if (is_int(w, 8)) return f(w.as<int8_t>());
  if (is_int(w, 32)) return f(w.as<int32_t>());
  call.fail("weights are float32, float16, int16, int8 or, of 31 bits, int32");
}

}  // namespace oarlock_xpu
#endif  // OARLOCK_XPU_STEPS_H_
