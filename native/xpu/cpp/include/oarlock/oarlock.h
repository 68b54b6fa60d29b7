/* Oarlock's C++ API: run compiled models, from a file or from memory, with no Python in the process; and build them from networks.
 *
 *     oarlock::Session session(oarlock::Model::from_stream(std::cin));
 *     session.set_input("x", pixels, {1, 3, 224, 224});
 *     session.run();
 *     std::vector<float> scores = session.output<float>("y");
 *
 * It runs artifacts for the CPU and for the XPU.  Every function throws oarlock::Error, and nothing else of its own.  Building starts the
 * compiler, which is Python, as a process of its own.
 */
#ifndef OARLOCK_OARLOCK_H_
#define OARLOCK_OARLOCK_H_

#include <cstdint>
#include <iosfwd>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#define OARLOCK_API __attribute__((visibility("default")))

namespace oarlock {

/* What is wrong, where, and what to do about it; what() is all of it as text. */
class OARLOCK_API Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, const std::string& where = "", const std::string& todo = "");
  const std::string& message() const { return message_; }
  const std::string& where() const { return where_; }
  const std::string& todo() const { return todo_; }

 private:
  std::string message_, where_, todo_;
};

using Shape = std::vector<int64_t>;

/* One input or output: dims are sizes ("3"), names of sizes that only a call tells ("n"), or expressions of them ("n // 2"). */
struct Tensor {
  std::string name, dtype;
  std::vector<std::string> dims;
};

/* The element type of T by its name. */
template <typename T>
struct TypeName;
#define OARLOCK_TYPE(type, name)                  \
  template <>                                     \
  struct TypeName<type> {                         \
    static constexpr const char* value = name;    \
  };
OARLOCK_TYPE(float, "float32")
OARLOCK_TYPE(double, "float64")
OARLOCK_TYPE(int8_t, "int8")
OARLOCK_TYPE(int16_t, "int16")
OARLOCK_TYPE(int32_t, "int32")
OARLOCK_TYPE(int64_t, "int64")
OARLOCK_TYPE(uint8_t, "uint8")
#undef OARLOCK_TYPE

/* A compiled model: the bytes that oarlock compile writes.  Copies share them. */
class OARLOCK_API Model {
 public:
  static Model from_file(const std::string& path);
  static Model from_memory(const void* data, size_t size); /* which is copied */
  static Model from_stream(std::istream& stream);          /* to its end */
  const std::string& bytes() const;
  void save(const std::string& path) const;

 private:
  friend class Session;
  friend class Network;
  explicit Model(std::string bytes, std::string where);
  std::shared_ptr<const std::string> bytes_;
  std::string where_;
};

/* A model that is ready to run.  For one thread at a time.  Of an artifact for several chips, the code for the one that is there runs. */
class OARLOCK_API Session {
 public:
  explicit Session(const Model& model, int threads = 1);
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  const std::vector<Tensor>& inputs() const;
  const std::vector<Tensor>& outputs() const;
  const std::string& target() const; /* "xpu/r200" */
  const std::string& chip() const;   /* "r200"; "" on the CPU */

  /* Copies an input to the device, where it stays for all runs until the next one; `size` is that of the data in bytes. */
  void set_input(const std::string& name, const void* data, size_t size, const Shape& shape, const std::string& dtype);
  template <typename T>
  void set_input(const std::string& name, const std::vector<T>& data, const Shape& shape) {
    set_input(name, data.data(), data.size() * sizeof(T), shape, TypeName<T>::value);
  }

  void run();

  Shape output_shape(const std::string& name) const; /* of the last run */
  void copy_output(const std::string& name, void* to, size_t size, const std::string& dtype) const;
  template <typename T>
  std::vector<T> output(const std::string& name) const {
    size_t count = 1;
    for (int64_t dim : output_shape(name)) count *= static_cast<size_t>(dim);
    std::vector<T> values(count);
    copy_output(name, values.data(), count * sizeof(T), TypeName<T>::value);
    return values;
  }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/* A value of a network that is being made. */
struct Value {
  int number = -1;
};

using Attribute = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;

/* A network, operator by operator, with Paddle's operators; build() compiles it. */
class OARLOCK_API Network {
 public:
  Network();
  ~Network();

  Value input(const std::string& name, const Shape& dims, const std::string& dtype = "float32"); /* -1: a dim that each run tells */
  template <typename T>
  Value constant(const std::vector<T>& data, const Shape& shape) {
    return constant(data.data(), data.size() * sizeof(T), shape, TypeName<T>::value);
  }
  Value constant(const void* data, size_t size, const Shape& shape, const std::string& dtype);

  /* Any operator that Oarlock knows (oarlock operators), by Paddle's names of it, its operands and attributes; attributes that are
   * left out have Paddle's defaults. */
  Value add(const std::string& op, const std::map<std::string, Value>& operands, const std::map<std::string, Attribute>& attributes = {});

  /* Short forms of the most common ones. */
  Value conv2d(Value x, Value filter, const std::vector<int64_t>& strides = {1, 1}, const std::vector<int64_t>& paddings = {0, 0},
               int64_t groups = 1);
  Value fc(Value x, Value weight, Value bias); /* x · weight + bias */
  Value matmul(Value x, Value y, bool transpose_y = false);
  Value plus(Value x, Value y);
  Value relu(Value x);
  Value gelu(Value x);
  Value softmax(Value x, int64_t axis = -1);
  Value layer_norm(Value x, Value scale, Value bias, double epsilon = 1e-5, int64_t begin_axis = -1);
  Value max_pool2d(Value x, int64_t kernel, int64_t stride, int64_t padding = 0);
  Value global_avg_pool2d(Value x);
  Value reshape(Value x, const std::vector<int64_t>& shape); /* -1: what is left; 0: as it was */

  void output(const std::string& name, Value value);

  /* Compiles the network by `python -m oarlock_xpu.network` (the interpreter in OARLOCK_PYTHON, else python3), to which it goes
   * through a pipe, as the artifact comes back. */
  Model build(const std::string& target, const std::map<std::string, std::string>& options = {}) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oarlock
#endif  // OARLOCK_OARLOCK_H_
