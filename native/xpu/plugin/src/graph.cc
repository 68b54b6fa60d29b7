// Graphs of static programs: what TVM's RewriteCUDAGraph makes of a program, on the XPU.  A part of a program whose kernels have the same
// memory in every run is recorded at its second pass through the same functions, and launched as a whole from then on.
#include <tvm/runtime/vm/vm.h>

#include <map>

#include "plugin.h"

namespace oarlock_xpu {
namespace {
using tvm::runtime::vm::VirtualMachine;
using tvm::runtime::vm::VMExtension;
using tvm::runtime::vm::VMExtensionNode;

struct Captured {
  XPUGraph graph = nullptr;
  ffi::ObjectRef states;                  // tensors of the part that what follows reads
  std::shared_ptr<api::Context> context;  // with the library's work space that the recorded kernels use

  Captured() = default;
  Captured(const Captured&) = delete;
  ~Captured() {
    if (graph) xpu_graph_destroy(graph);
  }
};

// Ends the capture of a stream also when what is captured fails.
class Capture {
 public:
  explicit Capture(XPUStream stream) : stream_(stream) { check(xpu_stream_begin_capture(stream), "recording a graph"); }
  ~Capture() {
    XPUGraph graph = nullptr;
    if (!ended_ && xpu_stream_end_capture(stream_, &graph) == XPU_SUCCESS) xpu_graph_destroy(graph);
  }
  XPUGraph end() {
    ended_ = true;
    XPUGraph graph = nullptr;
    check(xpu_stream_end_capture(stream_, &graph), "recording a graph");
    return graph;
  }

 private:
  XPUStream stream_;
  bool ended_ = false;
};

class GraphsNode : public VMExtensionNode {
 public:
  ffi::ObjectRef run(VirtualMachine* vm, const ffi::ObjectRef& function, const ffi::Any& arguments, int64_t part,
                     const ffi::Optional<ffi::Shape>& sizes) {
    std::vector<int64_t> key{part};
    if (sizes) key.insert(key.end(), sizes.value().begin(), sizes.value().end());
    auto known = captured_.find(key);
    if (known != captured_.end()) {
      check(xpu_graph_launch(known->second->graph, current_stream()), "a graph");
      return known->second->states;
    }
    const auto fields = arguments.cast<ffi::Array<ffi::Any>>();
    std::vector<ffi::AnyView> given(fields.begin(), fields.end());
    auto made = std::make_unique<Captured>();
    // a context of its own: what the library does with its work space later must not move that of the graph
    made->context = std::make_shared<api::Context>();
    if (!made->context->error.empty()) TVM_FFI_THROW(RuntimeError) << "the kernel library: " << made->context->error;
    UseContext use(made->context);
    ffi::Any result;
    auto call = [&] { vm->InvokeClosurePacked(function, ffi::PackedArgs(given.data(), static_cast<int>(given.size())), &result); };
    call();  // does the work, and gives the library its work space
    {
      Capture capture(current_stream());
      call();
      made->graph = capture.end();
    }
    made->states = result.cast<ffi::ObjectRef>();
    return captured_.emplace(std::move(key), std::move(made)).first->second->states;
  }

  ffi::ObjectRef allocation(VirtualMachine* vm, const ffi::ObjectRef& function, int64_t number) {
    auto known = allocations_.find(number);
    if (known != allocations_.end()) return known->second;
    ffi::Any result;
    vm->InvokeClosurePacked(function, ffi::PackedArgs(nullptr, 0), &result);
    return allocations_[number] = result.cast<ffi::ObjectRef>();
  }

  static constexpr const bool _type_mutable = true;
  TVM_FFI_DECLARE_OBJECT_INFO_FINAL("oarlock.XpuGraphs", GraphsNode, VMExtensionNode);

 private:
  std::map<int64_t, ffi::ObjectRef> allocations_;  // outlived by no graph that uses them
  std::map<std::vector<int64_t>, std::unique_ptr<Captured>> captured_;
};

class Graphs : public VMExtension {
 public:
  TVM_FFI_DEFINE_OBJECT_REF_METHODS_NULLABLE(Graphs, VMExtension, GraphsNode);
  static Graphs Create() { return Graphs(ffi::make_object<GraphsNode>()); }
};

GraphsNode* graphs_of(VirtualMachine* vm) { return const_cast<GraphsNode*>(vm->GetOrCreateExtension<Graphs>().operator->()); }
}  // namespace

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def_packed("vm.builtin.xpu_graph.run_or_capture",
                  [](ffi::PackedArgs args, ffi::Any* result) {
                    VirtualMachine* vm = VirtualMachine::GetContextPtr(args[0]);
                    ffi::Optional<ffi::Shape> sizes;
                    if (args.size() == 5) sizes = args[4].cast<ffi::Shape>();
                    *result = graphs_of(vm)->run(vm, args[1].cast<ffi::ObjectRef>(), args[2], args[3].cast<int64_t>(), sizes);
                  })
      .def_packed("vm.builtin.xpu_graph.get_cached_alloc", [](ffi::PackedArgs args, ffi::Any* result) {
        VirtualMachine* vm = VirtualMachine::GetContextPtr(args[0]);
        *result = graphs_of(vm)->allocation(vm, args[1].cast<ffi::ObjectRef>(), args[2].cast<int64_t>());
      });
}
}  // namespace oarlock_xpu
