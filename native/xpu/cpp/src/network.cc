#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "archive.h"

extern char** environ;

namespace oarlock {
namespace {
namespace ffi = tvm::ffi;

json::Value json_of(const Attribute& attribute) {
  return std::visit(
      [](const auto& value) -> json::Value {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return ffi::String(value);
        } else if constexpr (std::is_same_v<T, std::vector<int64_t>> || std::is_same_v<T, std::vector<double>>) {
          json::Array list;
          for (auto element : value) list.push_back(element);
          return list;
        } else {
          return value;
        }
      },
      attribute);
}

json::Array json_of(const Shape& shape) {
  json::Array list;
  for (int64_t dim : shape) list.push_back(dim);
  return list;
}

struct Descriptor {
  int number = -1;
  ~Descriptor() { reset(); }
  void reset() {
    if (number >= 0) close(number);
    number = -1;
  }
};

// A process that is waited for, or ended, in every case.
struct Process {
  pid_t id = -1;
  ~Process() {
    if (id > 0) {
      kill(id, SIGKILL);
      waitpid(id, nullptr, 0);
    }
  }
  int wait() {
    int status = 0;
    while (waitpid(id, &status, 0) < 0 && errno == EINTR) continue;
    id = -1;
    return status;
  }
};

// Runs a command with `given` on its standard input → its exit status, with what it wrote.
int run(const std::vector<std::string>& command, const std::string& given, std::string& out, std::string& errors) {
  int input[2], output[2], error[2];
  // a socket rather than a pipe: writing to one whose reader is gone may be told to raise no signal
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, input)) throw Error("no pipe to the compiler", command[0]);
  Descriptor to{input[0]}, to_end{input[1]};
  if (pipe2(output, O_CLOEXEC)) throw Error("no pipe to the compiler", command[0]);
  Descriptor from{output[0]}, from_end{output[1]};
  if (pipe2(error, O_CLOEXEC)) throw Error("no pipe to the compiler", command[0]);
  Descriptor told{error[0]}, told_end{error[1]};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to_end.number, 0);
  posix_spawn_file_actions_adddup2(&actions, from_end.number, 1);
  posix_spawn_file_actions_adddup2(&actions, told_end.number, 2);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  Process process;
  const int failed = posix_spawnp(&process.id, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) {
    process.id = -1;
    throw Error(std::string("the compiler does not start: ") + strerror(failed), command[0],
                "name the Python interpreter that has oarlock by the environment variable OARLOCK_PYTHON");
  }
  to_end.reset();
  from_end.reset();
  told_end.reset();
  fcntl(to.number, F_SETFL, O_NONBLOCK);
  size_t sent = 0;
  std::vector<char> buffer(1 << 16);
  while (from.number >= 0 || told.number >= 0) {
    pollfd waits[] = {{to.number, POLLOUT, 0}, {from.number, POLLIN, 0}, {told.number, POLLIN, 0}};  // negative ones are skipped
    if (poll(waits, 3, -1) < 0) {
      if (errno == EINTR) continue;
      throw Error(std::string("waiting for the compiler failed: ") + strerror(errno), command[0]);
    }
    if (waits[0].revents) {
      const ssize_t n = send(to.number, given.data() + sent, given.size() - sent, MSG_NOSIGNAL);
      if (n > 0) sent += static_cast<size_t>(n);
      if (sent == given.size() || (n < 0 && errno != EAGAIN && errno != EINTR)) to.reset();
    }
    for (auto [descriptor, text, wait] : {std::tuple{&from, &out, &waits[1]}, std::tuple{&told, &errors, &waits[2]}}) {
      if (!wait->revents) continue;
      const ssize_t n = read(descriptor->number, buffer.data(), buffer.size());
      if (n > 0) text->append(buffer.data(), static_cast<size_t>(n));
      if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) descriptor->reset();
    }
  }
  to.reset();
  return process.wait();
}

// The error that the compiler told as one line of JSON, its last; else what it wrote.
Error error_of(int status, const std::string& errors, const std::string& target) {
  size_t end = errors.find_last_not_of("\n");
  const std::string text = end == std::string::npos ? "" : errors.substr(0, end + 1);
  const std::string line = text.substr(text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1);
  ffi::String problem;
  json::Value value = json::Parse(ffi::String(line), &problem);
  if (problem.empty())
    if (auto fields = value.as<json::Object>())
      return Error(text_of(*fields, "what", ""), text_of(*fields, "where", ""), text_of(*fields, "todo", ""));
  const std::string how =
      WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) : "status " + std::to_string(WEXITSTATUS(status));
  return Error("the compiler ended with " + how + (text.empty() ? "" : ":\n" + text.substr(text.size() > 4000 ? text.size() - 4000 : 0)),
               "target " + target);
}
}  // namespace

struct Network::State {
  json::Array inputs, constants, ops, outputs;
  std::string data;
  std::vector<std::string> values;  // number → name

  Value made(const std::string& kind) {
    values.push_back(kind + std::to_string(values.size()));
    return Value{static_cast<int>(values.size()) - 1};
  }
  ffi::String name(Value value, const std::string& where) const {
    if (value.number < 0 || value.number >= static_cast<int>(values.size())) throw Error("a value of no operation of this network", where);
    return values[static_cast<size_t>(value.number)];
  }
};

Network::Network() : state_(std::make_unique<State>()) {}
Network::~Network() = default;

Value Network::input(const std::string& name, const Shape& dims, const std::string& dtype) {
  if (!bytes_of(dtype)) throw Error("there are no elements of type " + dtype, "input " + name);
  state_->values.push_back(name);
  state_->inputs.push_back(json::Object{{ffi::String("name"), ffi::String(name)},
                                        {ffi::String("dtype"), ffi::String(dtype)},
                                        {ffi::String("shape"), json_of(dims)}});
  return Value{static_cast<int>(state_->values.size()) - 1};
}

Value Network::constant(const void* data, size_t size, const Shape& shape, const std::string& dtype) {
  Value value = state_->made("constant_");
  const std::string name = state_->values.back();
  size_t expected = bytes_of(dtype);
  for (int64_t dim : shape) expected *= static_cast<size_t>(std::max<int64_t>(dim, 0));
  if (!bytes_of(dtype) || expected != size)
    throw Error("a constant has " + std::to_string(size) + " bytes, and its type and shape say " + std::to_string(expected), name);
  state_->constants.push_back(json::Object{{ffi::String("name"), ffi::String(name)},
                                           {ffi::String("dtype"), ffi::String(dtype)},
                                           {ffi::String("shape"), json_of(shape)},
                                           {ffi::String("bytes"), static_cast<int64_t>(size)}});
  state_->data.append(static_cast<const char*>(data), size);
  return value;
}

Value Network::add(const std::string& op, const std::map<std::string, Value>& operands,
                   const std::map<std::string, Attribute>& attributes) {
  json::Object given, values;
  for (const auto& [role, value] : operands) given.Set(ffi::String(role), state_->name(value, op + ", operand " + role));
  for (const auto& [key, value] : attributes) values.Set(ffi::String(key), json_of(value));
  Value result = state_->made(op + "_");
  state_->ops.push_back(json::Object{{ffi::String("op"), ffi::String(op)},
                                     {ffi::String("operands"), given},
                                     {ffi::String("attributes"), values},
                                     {ffi::String("result"), ffi::String(state_->values.back())}});
  return result;
}

using Ints = std::vector<int64_t>;

Value Network::conv2d(Value x, Value filter, const Ints& strides, const Ints& paddings, int64_t groups) {
  return add("conv2d", {{"input", x}, {"filter", filter}}, {{"strides", strides}, {"paddings", paddings}, {"groups", groups}});
}
Value Network::fc(Value x, Value weight, Value bias) { return plus(matmul(x, weight), bias); }
Value Network::matmul(Value x, Value y, bool transpose_y) { return add("matmul", {{"x", x}, {"y", y}}, {{"transpose_y", transpose_y}}); }
Value Network::plus(Value x, Value y) { return add("add", {{"x", x}, {"y", y}}); }
Value Network::relu(Value x) { return add("relu", {{"x", x}}); }
Value Network::gelu(Value x) { return add("gelu", {{"x", x}}); }
Value Network::softmax(Value x, int64_t axis) { return add("softmax", {{"x", x}}, {{"axis", axis}}); }
Value Network::layer_norm(Value x, Value scale, Value bias, double epsilon, int64_t begin_axis) {
  return add("layer_norm", {{"x", x}, {"scale", scale}, {"bias", bias}}, {{"epsilon", epsilon}, {"begin_norm_axis", begin_axis}});
}
namespace {
std::map<std::string, Attribute> pooling(const char* type, const Ints& kernel, const Ints& strides, const Ints& paddings, bool adaptive) {
  return {{"kernel_size", kernel}, {"strides", strides}, {"paddings", paddings}, {"pooling_type", std::string(type)},
          {"adaptive", adaptive},  {"ceil_mode", false}, {"exclusive", true},    {"global_pooling", false},
          {"data_format", std::string("NCHW")},          {"padding_algorithm", std::string("EXPLICIT")}};
}
}  // namespace

Value Network::max_pool2d(Value x, int64_t kernel, int64_t stride, int64_t padding) {
  return add("pool2d", {{"x", x}}, pooling("max", {kernel, kernel}, {stride, stride}, {padding, padding}, false));
}
Value Network::global_avg_pool2d(Value x) { return add("pool2d", {{"x", x}}, pooling("avg", {1, 1}, {1, 1}, {0, 0}, true)); }
Value Network::reshape(Value x, const Ints& shape) { return add("reshape", {{"x", x}}, {{"shape", shape}}); }

void Network::output(const std::string& name, Value value) {
  json::Array pair;
  pair.push_back(ffi::String(name));
  pair.push_back(state_->name(value, "output " + name));
  state_->outputs.push_back(pair);
}

Model Network::build(const std::string& target, const std::map<std::string, std::string>& options) const {
  json::Object named;
  for (const auto& [key, value] : options) named.Set(ffi::String(key), ffi::String(value));
  const std::string header = json::Stringify(json::Object{{ffi::String("target"), ffi::String(target)},
                                                          {ffi::String("options"), named},
                                                          {ffi::String("inputs"), state_->inputs},
                                                          {ffi::String("constants"), state_->constants},
                                                          {ffi::String("ops"), state_->ops},
                                                          {ffi::String("outputs"), state_->outputs}});
  const char* python = getenv("OARLOCK_PYTHON");
  const std::vector<std::string> command = {python ? python : OARLOCK_PYTHON_BUILT_IN, "-m", "oarlock_xpu.network"};
  std::string made, errors;
  const int status = run(command, std::to_string(header.size()) + "\n" + header + state_->data, made, errors);
  if (status) throw error_of(status, errors, target);
  return Model(std::move(made), "the network");
}

}  // namespace oarlock
