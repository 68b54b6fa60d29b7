#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/runtime/tensor.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>

#include "archive.h"

namespace oarlock {
namespace {
namespace ffi = tvm::ffi;
using DeviceTensor = tvm::runtime::Tensor;
constexpr int kPooled = 2;  // the VM's allocators
constexpr const char* kCompileAgain = "compile the model again with the version that this library was built for";

std::string first_line(const std::exception& error) {
  std::istringstream lines(error.what());
  std::string line;
  while (std::getline(lines, line))
    if (line.find_first_not_of(" \t") != std::string::npos) return line;
  return "unknown error";
}

// Calls f; what TVM throws becomes an Error.
template <typename F>
auto told(const std::string& what, const std::string& where, const std::string& todo, F f) -> decltype(f()) {
  try {
    return f();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(what + ": " + first_line(error), where, todo);
  }
}

DLDataType type_of(const std::string& dtype) {
  const auto bits = static_cast<uint8_t>(bytes_of(dtype) * 8);
  const uint8_t code = dtype == "bool"        ? kDLBool
                       : dtype[0] == 'u'      ? kDLUInt
                       : dtype[0] == 'i'      ? kDLInt
                       : dtype == "bfloat16"  ? kDLBfloat
                                              : kDLFloat;
  return {code, bits, 1};
}

json::Object object_of(const json::Object& object, const char* key) {
  auto it = object.find(ffi::String(key));
  auto found = it == object.end() ? std::nullopt : (*it).second.as<json::Object>();
  return found ? *found : json::Object();
}

std::vector<std::string> list_of(const json::Object& object, const char* key) {
  std::vector<std::string> values;
  auto it = object.find(ffi::String(key));
  if (auto list = it == object.end() ? std::nullopt : (*it).second.as<json::Array>())
    for (const json::Value& value : *list)
      if (auto text = value.as<ffi::String>()) values.push_back(*text);
  return values;
}

// Machine code with instructions that the CPU lacks would end the process.
void check_machine(const json::Object& runtime, const std::string& where) {
  utsname machine{};
  uname(&machine);
  const std::string wanted = text_of(runtime, "machine", machine.machine);
  if (wanted != machine.machine)
    throw Error("the artifact was compiled for " + wanted + "; this machine is " + machine.machine, where, "compile the model here");
  std::ifstream info("/proc/cpuinfo");
  std::set<std::string> features;
  for (std::string line; std::getline(info, line);)
    if (line.rfind("flags", 0) == 0 || line.rfind("Features", 0) == 0) {
      std::istringstream words(line.substr(line.find(':') + 1));
      for (std::string word; words >> word;) features.insert(word);
      break;
    }
  std::string missing;
  for (const std::string& feature : list_of(runtime, "features"))
    if (!features.count(feature)) missing += (missing.empty() ? "" : ", ") + feature;
  if (!missing.empty())
    throw Error("the artifact needs CPU features that this machine lacks: " + missing, where,
                "compile the model on this machine, or for an older CPU (mcpu=x86-64-v3)");
}

// The chip's libraries: beside this one, else where OARLOCK_XPU_LIBRARIES says, else where they were when this one was built.
void load_xpu(const std::string& where) {
  static std::mutex mutex;
  static bool loaded = false;
  std::lock_guard<std::mutex> guard(mutex);
  if (loaded) return;
  Dl_info self{};
  dladdr(reinterpret_cast<void*>(&load_xpu), &self);
  const std::string here = self.dli_fname ? self.dli_fname : "";
  std::vector<std::string> folders = {here.substr(0, here.rfind('/'))};
  if (const char* given = getenv("OARLOCK_XPU_LIBRARIES")) folders.emplace_back(given);
  folders.emplace_back(OARLOCK_XPU_BUILT_IN);
  std::string why;
  for (const std::string& folder : folders) {
    if (access((folder + "/liboarlock_xpu.so").c_str(), R_OK)) continue;
    for (const char* name : {"libxpurt.so", "libxpuapi.so", "liboarlock_xpu.so"})
      // global, since modules of kernels find what they call by name
      if (!dlopen((folder + "/" + name).c_str(), RTLD_NOW | RTLD_GLOBAL))
        throw Error(std::string(name) + " does not load: " + dlerror(), where);
    loaded = true;
    return;
  }
  std::string looked;
  for (const std::string& folder : folders) looked += (looked.empty() ? "" : ", ") + folder;
  throw Error("the XPU's libraries were not found (looked in " + looked + ")", where,
              "put libxpurt.so, libxpuapi.so and liboarlock_xpu.so beside liboarlock.so, or name their folder by OARLOCK_XPU_LIBRARIES");
}

std::string chip_of_device(const std::string& where) {
  using Name = int (*)(const char**, int);
  auto name_of = reinterpret_cast<Name>(dlsym(RTLD_DEFAULT, "xpu_device_name"));
  const char* title = "";
  if (!name_of || name_of(&title, 0)) throw Error("there is no XPU", where);
  std::string name = title;
  for (char& c : name) c = static_cast<char>(tolower(c));
  return name;
}

// Which part of an artifact runs on the chip that is there; an emulator becomes the one chip that an artifact is for.
std::string choose_chip(const Archive& archive) {
  const std::string found = chip_of_device(archive.where);
  if (!archive.parts.empty()) {
    if (std::count(archive.parts.begin(), archive.parts.end(), found)) return found;
    std::string all;
    for (const std::string& part : archive.parts) all += (all.empty() ? "" : ", ") + part;
    throw Error("the artifact has code for the chips " + all + ", and the device is a " + found, archive.where,
                "compile the model for this chip too (--option chips=…)");
  }
  const std::string wanted = text_of(object_of(archive.manifest, "runtime"), "chip", "");
  if (wanted == found) return found;
  using Configure = int (*)(const char*, int);
  auto configure = reinterpret_cast<Configure>(dlsym(RTLD_DEFAULT, "xpu_sim_configure"));
  if (!configure || configure(wanted.c_str(), 1))
    throw Error("the artifact was compiled for the chip " + wanted + ", and the device is a " + found, archive.where,
                "close other sessions first, or compile the model for xpu/" + found);
  return wanted;
}

// The module in a library, from memory: no file is written.
ffi::Module load_library(std::string_view library, const std::string& where) {
  const int descriptor = memfd_create("oarlock", MFD_CLOEXEC);
  if (descriptor < 0) throw Error("the system gives no memory for the artifact's library (memfd_create)", where);
  struct Closer {
    int descriptor;
    ~Closer() { close(descriptor); }
  } closer{descriptor};
  for (size_t done = 0; done < library.size();) {
    const ssize_t n = write(descriptor, library.data() + done, library.size() - done);
    if (n <= 0) throw Error("the artifact's library does not fit into memory", where);
    done += static_cast<size_t>(n);
  }
  // The loader takes an equal path for the library that it has already, and descriptors are used again: a number, written in binary as
  // "/" and "/./", makes each path another one.
  static std::atomic<unsigned> count{0};
  std::string path = "/proc/self/fd";
  for (unsigned bits = ++count; bits; bits >>= 1) path += bits & 1 ? "/./" : "/";
  path += "/" + std::to_string(descriptor);
  return told("the artifact's library does not load", where, "compile the model again on a machine like this one", [&] {
    return ffi::Function::GetGlobalRequired("ffi.Module.load_from_file.so")(path, "so").cast<ffi::Module>();
  });
}

// Parallel loops run on the pool that a library brings, the first one's for all; a library without one has no parallel loops.
void use_threads(const ffi::Module& library, int threads) {
  static std::mutex mutex;
  static int64_t host = 0;
  static std::vector<ffi::Module>* kept = new std::vector<ffi::Module>();  // a pool's code is never unloaded
  auto setter = library->GetFunction("oarlock_threads_1");
  if (!setter) return;
  std::lock_guard<std::mutex> guard(mutex);
  const auto address = (*setter)(threads, host).cast<int64_t>();
  if (address && !host) {
    host = address;
    kept->push_back(library);
  }
}
}  // namespace

struct Session::State {
  Model model;  // whose bytes the archive reads
  Archive archive;
  std::string target, chip;
  tvm::Device device{kDLCPU, 0};
  ffi::Module vm;
  ffi::Function main;
  std::vector<DeviceTensor> inputs, weights, results;

  State(const Model& given, const std::string& bytes, const std::string& where)
      : model(given), archive(bytes, where), vm(ffi::UnsafeInit()) {}

  size_t find(const std::vector<Tensor>& among, const std::string& name, const char* kind) const {
    std::string all;
    for (size_t i = 0; i < among.size(); ++i) {
      if (among[i].name == name) return i;
      all += (i ? ", " : "") + among[i].name;
    }
    throw Error(std::string("the model has no ") + kind + " '" + name + "'", archive.where, "it has: " + all);
  }

  const DeviceTensor& result(const std::string& name) const {
    const size_t i = find(archive.outputs, name, "output");
    if (results.empty()) throw Error("the model has not run yet", archive.where, "call run() first");
    return results[i];
  }
};

Session::Session(const Model& model, int threads) {
  state_ = std::make_unique<State>(model, model.bytes(), model.where_);
  State& s = *state_;
  const std::string& where = s.archive.where;
  const json::Object runtime = object_of(s.archive.manifest, "runtime");
  s.target = text_of(s.archive.manifest, "target", "cpu");
  const std::string device = text_of(runtime, "device", "cpu");
  if (threads < 1) throw Error(std::to_string(threads) + " threads", where, "give a number of at least 1");
  if (device != "cpu" && device != "xpu") throw Error("the artifact is for the device " + device, where, "this library runs cpu and xpu");
  if (runtime.count(ffi::String("parallel")))
    throw Error("the artifact is for several devices together, which this library does not run", where,
                "run it in Python (oarlock.Session), or compile the model without the option parallel");
  if (!list_of(runtime, "libraries").empty())
    throw Error("the artifact calls kernel libraries of other packages", where, "compile the model with --option libraries=none");
  auto calls = s.archive.manifest.find(ffi::String("host_calls"));
  if (calls != s.archive.manifest.end() && !(*calls).second.cast<json::Array>().empty())
    throw Error("the artifact calls Python functions", where, "register converters for these operators (see docs/host-calls.md)");
  check_machine(runtime, where);
  if (device == "xpu") {
    load_xpu(where);
    s.chip = choose_chip(s.archive);
    s.device = {kDLExtDev, 0};
  }
  const Program program = s.archive.program(s.archive.parts.empty() ? "" : s.chip.empty() ? s.archive.parts[0] : s.chip);
  const ffi::Module library = load_library(program.library, where);
  told("the artifact's library is no program of this TVM", where, kCompileAgain, [&] {
    if (device == "cpu") use_threads(library, threads);
    s.vm = library->GetFunction("vm_load_executable").value()().cast<ffi::Module>();
    const ffi::Function initialise = s.vm->GetFunction("vm_initialization").value();
    if (device == "xpu")
      initialise(static_cast<int>(kDLExtDev), 0, kPooled, static_cast<int>(kDLCPU), 0, kPooled);
    else
      initialise(static_cast<int>(kDLCPU), 0, kPooled);
    s.main = s.vm->GetFunction("main").value();
    const auto arity = s.vm->GetFunction("get_function_arity").value()("main").cast<int64_t>();
    if (arity != static_cast<int64_t>(s.archive.inputs.size() + program.weights.size()))
      throw Error("the program takes " + std::to_string(arity) + " tensors, and there are " + std::to_string(s.archive.inputs.size()) +
                      " inputs and " + std::to_string(program.weights.size()) + " weights",
                  where, kCompileAgain);
  });
  told("the weights do not fit on the device", where, "", [&] {
    for (int64_t number : program.weights) {
      const Weight& weight = s.archive.weights[static_cast<size_t>(number)];
      DeviceTensor tensor = DeviceTensor::Empty(ffi::Shape(weight.shape.begin(), weight.shape.end()), type_of(weight.dtype), s.device);
      if (weight.size) tensor.CopyFromBytes(weight.data, weight.size);
      s.weights.push_back(std::move(tensor));
    }
  });
  s.inputs.resize(s.archive.inputs.size());
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

const std::vector<Tensor>& Session::inputs() const { return state_->archive.inputs; }
const std::vector<Tensor>& Session::outputs() const { return state_->archive.outputs; }
const std::string& Session::target() const { return state_->target; }
const std::string& Session::chip() const { return state_->chip; }

namespace {
std::string show(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string show(const Tensor& tensor) {
  std::string text = tensor.name + ": " + tensor.dtype + "[";
  for (size_t i = 0; i < tensor.dims.size(); ++i) text += (i ? ", " : "") + tensor.dims[i];
  return text + "]";
}
}  // namespace

void Session::set_input(const std::string& name, const void* data, size_t size, const Shape& shape, const std::string& dtype) {
  State& s = *state_;
  const size_t i = s.find(s.archive.inputs, name, "input");
  const Tensor& expected = s.archive.inputs[i];
  const std::string given = name + " " + dtype + show(shape), todo = "give " + show(expected);
  if (dtype != expected.dtype) throw Error("input '" + name + "' is " + dtype + ", expected " + expected.dtype, given, todo);
  if (shape.size() != expected.dims.size())
    throw Error("input '" + name + "' has rank " + std::to_string(shape.size()) + ", expected " + std::to_string(expected.dims.size()),
                given, todo);
  size_t bytes = bytes_of(dtype);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    const std::string& dim = expected.dims[axis];
    const bool fixed = dim.find_first_not_of("0123456789") == std::string::npos;
    if (shape[axis] < 0 || (fixed && std::to_string(shape[axis]) != dim))
      throw Error("dim " + std::to_string(axis) + " of input '" + name + "' is " + std::to_string(shape[axis]) + ", expected " + dim, given,
                  todo);
    bytes *= static_cast<size_t>(shape[axis]);
  }
  if (bytes != size)
    throw Error("input '" + name + "' has " + std::to_string(size) + " bytes, and its shape says " + std::to_string(bytes), given);
  told("input '" + name + "' cannot be copied to the device", given, "", [&] {
    const ffi::Shape wanted(shape.begin(), shape.end());
    DeviceTensor& kept = s.inputs[i];
    bool same = kept.defined() && static_cast<size_t>(kept->ndim) == shape.size();
    for (size_t axis = 0; same && axis < shape.size(); ++axis) same = kept->shape[axis] == shape[axis];
    if (!same) kept = DeviceTensor::Empty(wanted, type_of(dtype), s.device);
    if (bytes) kept.CopyFromBytes(data, bytes);
  });
}

void Session::run() {
  State& s = *state_;
  std::map<std::string, std::pair<int64_t, std::string>> symbols;
  std::string shapes;
  std::vector<ffi::Any> arguments;
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    const Tensor& spec = s.archive.inputs[i];
    if (!s.inputs[i].defined()) throw Error("the input '" + spec.name + "' has no value", s.archive.where, "call set_input for it");
    Shape shape(s.inputs[i]->shape, s.inputs[i]->shape + s.inputs[i]->ndim);
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      auto seen = symbols.emplace(spec.dims[axis], std::make_pair(shape[axis], spec.name)).first->second;
      if (seen.first != shape[axis] && spec.dims[axis] != "?")
        throw Error("dim " + std::to_string(axis) + " of input '" + spec.name + "' is " + std::to_string(shape[axis]) + ", but '" +
                        spec.dims[axis] + "' is " + std::to_string(seen.first) + " in '" + seen.second + "'",
                    s.archive.where, "give every dim '" + spec.dims[axis] + "' the same size");
    }
    shapes += (i ? ", " : "") + spec.name + " " + show(shape);
    arguments.emplace_back(s.inputs[i]);
  }
  for (const DeviceTensor& weight : s.weights) arguments.emplace_back(weight);
  told("the model failed as it ran", s.archive.where + ", inputs " + shapes, "check that the model accepts these shapes and values", [&] {
    std::vector<ffi::AnyView> views(arguments.begin(), arguments.end());
    ffi::Any result;
    s.main.CallPacked(views.data(), static_cast<int32_t>(views.size()), &result);
    s.results.clear();
    if (auto tensor = result.as<ffi::Tensor>()) {
      s.results.emplace_back(*tensor);
    } else {
      for (const ffi::Any& value : result.cast<ffi::Array<ffi::Any>>()) s.results.emplace_back(value.cast<ffi::Tensor>());
    }
    if (s.results.size() != s.archive.outputs.size()) throw Error("the program returned another number of tensors", s.archive.where);
    if (s.device.device_type != kDLCPU) ffi::Function::GetGlobalRequired("runtime.Device_StreamSync")(s.device, 0);
  });
}

Shape Session::output_shape(const std::string& name) const {
  const DeviceTensor& tensor = state_->result(name);
  return Shape(tensor->shape, tensor->shape + tensor->ndim);
}

void Session::copy_output(const std::string& name, void* to, size_t size, const std::string& dtype) const {
  const DeviceTensor& tensor = state_->result(name);
  const Tensor& spec = state_->archive.outputs[state_->find(state_->archive.outputs, name, "output")];
  if (dtype != spec.dtype) throw Error("output '" + name + "' is " + spec.dtype + ", not " + dtype, state_->archive.where);
  const size_t bytes = ffi::GetDataSize(*tensor.operator->());
  if (size != bytes)
    throw Error("output '" + name + "' has " + std::to_string(bytes) + " bytes, and there is room for " + std::to_string(size),
                state_->archive.where, "ask output_shape() first");
  told("output '" + name + "' cannot be copied", state_->archive.where, "", [&] {
    if (bytes) tensor.CopyToBytes(to, bytes);
  });
}

}  // namespace oarlock
