// Modules of calls of the kernel library ("xpu_library"): what a model's functions for the XPU become.  A function takes tensors of the
// device, its result last; sizes are those of the tensors at hand, so one module serves all shapes.
#include <algorithm>
#include <memory>

#include "arguments.h"

namespace oarlock_xpu {
namespace {

class LibraryModule final : public ffi::ModuleObj {
 public:
  explicit LibraryModule(ffi::json::Object calls) : calls_(std::move(calls)) {}

  const char* kind() const final { return "xpu_library"; }
  int GetPropertyMask() const final { return ffi::Module::kBinarySerializable | ffi::Module::kRunnable; }
  ffi::String InspectSource(const ffi::String&) const final { return ffi::json::Stringify(calls_, 1); }

  ffi::Optional<ffi::Function> GetFunction(const ffi::String& name) final {
    auto found = calls_.find(name);
    if (found == calls_.end()) return std::nullopt;
    auto step = std::make_shared<Step>(name, (*found).second.cast<ffi::json::Object>());
    Handler handler = find_handler(step->api);
    if (!handler) TVM_FFI_THROW(RuntimeError) << name << ": this kernel library has no " << step->api;
    return ffi::Function::FromPacked([step, handler](ffi::PackedArgs args, ffi::Any*) { run(*step, handler, args); });
  }

  ffi::Bytes SaveToBytes() const final { return ffi::Bytes(pack(calls_, {})); }

  static ffi::Module load(const ffi::Bytes& bytes) {
    return ffi::Module(ffi::make_object<LibraryModule>(unpack(bytes, "a module of library calls").first));
  }

 private:
  static void run(const Step& step, Handler handler, ffi::PackedArgs args) {
    const int count = static_cast<int>(step.inputs.size()), results = static_cast<int>(step.outputs.size());
    if (args.size() != count + results)
      TVM_FFI_THROW(TypeError) << step.api << " (" << step.symbol << ") takes " << count << " tensors and "
                               << (results == 1 ? "one" : std::to_string(results)) << " for the result, and got " << args.size();
    Call call{step, {}, tensor_argument(step, args, count, "result"), {}, nullptr};
    const int device = args[count].cast<DLTensor*>()->device.device_id;
    call.inputs.reserve(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) call.inputs.push_back(tensor_argument(step, args, i, step.inputs[i].c_str(), device));
    for (int i = 1; i < results; ++i) call.outputs.push_back(tensor_argument(step, args, count + i, step.outputs[i].c_str(), device));
    use_device(device);
    call.context = current_context();
    call.check_sizes();
    const Ranges only(call);
    const int status = handler(call);
    if (status != api::SUCCESS)
      TVM_FFI_THROW(RuntimeError) << step.symbol << " on tensors " << call.shapes() << ": " << call.context->error << " (error " << status
                                  << " of the kernel library)";
  }

  ffi::json::Object calls_;  // symbol → step
};
}  // namespace

Step::Step(std::string symbol, const ffi::json::Object& fields) : symbol(std::move(symbol)) {
  auto damaged = [&](const std::string& what) {
    TVM_FFI_THROW(ValueError) << "the call " << this->symbol << " of the kernel library is damaged: " << what;
  };
  for (const auto& [key, value] : fields) {
    const std::string name = key.cast<ffi::String>();
    if (name == "inputs" || name == "outputs") {
      for (const ffi::Any& role : value.cast<ffi::json::Array>()) (name == "inputs" ? inputs : outputs).push_back(role.cast<ffi::String>());
    } else if (auto number = value.as<int64_t>()) {
      ints[name] = {*number};
      numbers[name] = static_cast<double>(*number);
    } else if (auto real = value.as<double>()) {
      numbers[name] = *real;
    } else if (auto words = value.as<ffi::String>()) {
      (name == "api" ? api : texts[name]) = *words;
    } else if (auto list = value.as<ffi::json::Array>()) {
      auto& values = ints[name];
      for (const ffi::Any& v : *list) values.push_back(v.cast<int64_t>());
    } else {
      damaged("field " + name);
    }
  }
  if (api.empty()) damaged("it names no function");
  if (outputs.empty()) outputs = {"result"};
}

int64_t Step::integer(const char* name) const {
  auto it = ints.find(name);
  if (it == ints.end() || it->second.size() != 1) TVM_FFI_THROW(ValueError) << api << " (" << symbol << ") has no attribute " << name;
  return it->second[0];
}

std::vector<int> Step::list(const char* name, size_t count) const {
  auto it = ints.find(name);
  if (it == ints.end() || (count && it->second.size() != count))
    TVM_FFI_THROW(ValueError) << api << " (" << symbol << ") has no attribute " << name << " of " << count << " numbers";
  std::vector<int> values;
  for (int64_t v : it->second) {
    if (v < INT32_MIN || v > INT32_MAX)
      TVM_FFI_THROW(ValueError) << api << " (" << symbol << "), attribute " << name << ": " << v << " does not fit";
    values.push_back(static_cast<int>(v));
  }
  return values;
}

api::Activation_t Step::activation(const char* name) const {
  static const std::map<std::string, api::Activation_t::act_enum> names = {{"", api::Activation_t::LINEAR},
                                                                           {"relu", api::Activation_t::RELU},
                                                                           {"sigmoid", api::Activation_t::SIGMOID},
                                                                           {"tanh", api::Activation_t::TANH},
                                                                           {"gelu", api::Activation_t::GELU},
                                                                           {"swish", api::Activation_t::SWISH},
                                                                           {"hard_swish", api::Activation_t::HARD_SWISH},
                                                                           {"hard_sigmoid", api::Activation_t::HARD_SIGMOID},
                                                                           {"relu6", api::Activation_t::RELU6},
                                                                           {"leaky_relu", api::Activation_t::LEAKY_RELU}};
  auto given = texts.find(name);
  auto it = names.find(given == texts.end() ? "" : given->second);
  if (it == names.end()) TVM_FFI_THROW(ValueError) << api << " (" << symbol << "): there is no activation " << given->second;
  return api::Activation_t(it->second, static_cast<float>(number((std::string(name) + "_alpha").c_str(), 0)));
}

const View* Call::find(const char* role) const {
  for (const View& view : inputs)
    if (step.inputs[&view - inputs.data()] == role) return &view;
  return nullptr;
}

const View& Call::get(const char* role) const {
  const View* view = find(role);
  if (!view) fail(std::string("it has no '") + role + "'");
  return *view;
}

const View& Call::need_float(const char* role) const {
  const View& view = std::string(role) == "result" ? output : get(role);
  if (view.dtype.code != kDLFloat || view.dtype.bits != 32) fail(std::string("'") + role + "' is not float32");
  return view;
}

const float* Call::vector_of(const char* role, int64_t size) const {
  if (!find(role)) return nullptr;
  const View& view = need_float(role);
  if (view.size() != size) fail(std::string("'") + role + "' has another number of elements");
  return view.as<float>();
}

const float* Call::maxima(const char* role) const { return vector_of(role, context->max_ptr_size()); }

float* Call::y_max() const {
  for (const View& view : outputs) {
    if (std::string(view.role) != "y_max") continue;
    need(is_float(view) && view.size() == context->max_ptr_size(), "y_max is no max pointer of this chip");
    return view.as<float>();
  }
  return nullptr;
}

void Call::fail(const std::string& what) const {
  TVM_FFI_THROW(ValueError) << step.api << " (" << step.symbol << ") on tensors " << shapes() << ": " << what;
}

// "checked_x": pairs of a dim of x and one of the result, which must be as long; "wrong_x": what to say else.
void Call::check_sizes() const {
  for (const View& view : inputs) {
    auto dims = step.ints.find(std::string("checked_") + view.role);
    if (dims == step.ints.end()) continue;
    for (size_t i = 0; i + 1 < dims->second.size(); i += 2) {
      const int64_t own = dims->second[i], other = dims->second[i + 1];
      need(own >= 0 && own < view.rank() && other >= 0 && other < output.rank(), "a dim to check is not there");
      if (view.shape[own] != output.shape[other]) fail(step.texts.at(std::string("wrong_") + view.role));
    }
  }
}

std::string Call::shapes() const {
  std::ostringstream out;
  auto put = [&](const View& view) {
    out << "[";
    for (int i = 0; i < view.rank(); ++i) out << (i ? ", " : "") << view.shape[i];
    out << "]";
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    out << (i ? ", " : "") << step.inputs[i] << " ";
    put(inputs[i]);
  }
  out << " -> ";
  put(output);
  return out.str();
}

namespace {
const std::map<std::string, Handler>& handlers() {
  static const auto all = [] {
    std::map<std::string, Handler> made;
    register_handlers(made);
    register_rows(made);
    register_moves(made);
    register_fused(made);
    return made;
  }();
  return all;
}

// Tensors of programs that go to the host and back, for what runs there.
tvm::runtime::Tensor moved(const tvm::runtime::Tensor& tensor, Device device) {
  auto copy = tvm::runtime::Tensor::Empty(tensor.Shape(), tensor->dtype, device);
  if (tensor.Shape().Product()) copy.CopyFrom(tensor);
  return copy;
}
}  // namespace

Handler find_handler(const std::string& name) {
  auto it = handlers().find(name);
  return it == handlers().end() ? nullptr : it->second;
}

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("ffi.Module.load_from_bytes.xpu_library", &LibraryModule::load)
      .def(
          "oarlock_xpu.library_module",
          [](ffi::String calls) { return ffi::Module(ffi::make_object<LibraryModule>(ffi::json::Parse(calls).cast<ffi::json::Object>())); })
      .def("oarlock_xpu.library_functions",
           [] {
             ffi::Array<ffi::String> names;
             for (const auto& [name, _] : handlers()) names.push_back(name);
             return names;
           })
      .def("oarlock_xpu.to_host", [](tvm::runtime::Tensor tensor) { return moved(tensor, Device{kDLCPU, 0}); })
      .def("oarlock_xpu.to_device", [](tvm::runtime::Tensor tensor) {
        int number = 0;
        check(xpu_current_device(&number), "the device");
        return moved(tensor, Device{kXpu, number});
      });
}
}  // namespace oarlock_xpu
