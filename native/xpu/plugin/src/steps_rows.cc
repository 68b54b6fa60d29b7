// Functions of rows and windows, and moves.
#include "steps.h"

namespace oarlock_xpu {
namespace {

int softmax(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.shape == y.shape, "the result has another shape");
  return api::softmax<float>(call.context, x.as<float>(), y.as<float>(), x.shape, static_cast<int>(call.step.integer("axis")));
}

int layer_norm(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.shape == y.shape, "the result has another shape");
  const int64_t dims = call.step.integer("dims", 1);  // the trailing ones that are normalised
  call.need(dims >= 1 && dims <= x.rank(), "there are not so many dims");
  const int64_t n = x.from(x.rank() - static_cast<int>(dims)), m = n ? x.size() / n : 0;
  auto vector_of = [&](const char* role) -> const float* {
    if (!call.find(role)) return nullptr;
    if (call.need_float(role).size() != n) call.fail(std::string("'") + role + "' has another number of elements");
    return call.get(role).as<float>();
  };
  return api::layer_norm<float>(call.context, x.as<float>(), y.as<float>(), m, n, static_cast<float>(call.step.number("eps", 1e-5)),
                                vector_of("scale"), vector_of("bias"), nullptr, nullptr);
}

template <int (*function)(api::Context*, const float*, float*, const std::vector<int64_t>&, const std::vector<int>&)>
int reduce(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  const auto axes = call.step.list("axes");
  int64_t length = 1;
  for (int axis : axes) {
    if (axis < 0) axis += x.rank();
    call.need(axis >= 0 && axis < x.rank(), "there is no such dim");
    length *= x.shape[axis];
  }
  call.need(y.size() * length == x.size(), "the result has another size");
  return function(call.context, x.as<float>(), y.as<float>(), x.shape, axes);
}

int pool(const Call& call, bool takes_max) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.rank() == 4 && y.rank() == 4 && x.shape[0] == y.shape[0] && x.shape[1] == y.shape[1],
            "tensors of four dims, and of equal planes, are needed");
  const int64_t n = x.shape[0], c = x.shape[1], h = x.shape[2], w = x.shape[3];
  if (takes_max)
    return api::max_pool2d<float>(call.context, x.as<float>(), y.as<float>(), nullptr, n, c, h, w, y.shape[2], y.shape[3],
                                  call.step.list("ksize", 2), call.step.list("strides", 2), call.step.list("paddings", 4), true);
  return api::avg_pool2d<float>(call.context, x.as<float>(), y.as<float>(), n, c, h, w, y.shape[2], y.shape[3], call.step.list("ksize", 2),
                                call.step.list("strides", 2), call.step.list("paddings", 4), call.step.integer("count_include_pad", 0),
                                true);
}

// Calls f with a null pointer of an integer type as large as the elements.
template <typename F>
int by_size(const Call& call, const View& view, F f) {
  switch (view.dtype.bits) {
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

bool equal(DLDataType a, DLDataType b) { return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes; }

int transpose(const Call& call) {
  const View &x = call.get("x"), &y = call.output;
  const auto permute = call.step.list("permute", x.shape.size());
  call.need(x.rank() == y.rank() && equal(x.dtype, y.dtype), "the result has another rank or type");
  for (int i = 0; i < x.rank(); ++i)
    call.need(permute[i] >= 0 && permute[i] < x.rank() && y.shape[i] == x.shape[permute[i]], "the result has another shape");
  return by_size(call, x, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    return api::transpose<T>(call.context, x.as<T>(), y.as<T>(), x.shape, permute);
  });
}

int concat(const Call& call) {
  const View& y = call.output;
  int axis = static_cast<int>(call.step.integer("axis"));
  if (axis < 0) axis += y.rank();
  call.need(axis >= 0 && axis < y.rank() && !call.inputs.empty(), "there is no such dim, or nothing to join");
  int64_t whole = 0;
  std::vector<std::vector<int64_t>> shapes;
  for (const View& x : call.inputs) {
    call.need(x.rank() == y.rank() && equal(x.dtype, y.dtype), "a tensor has another rank or type than the result");
    for (int i = 0; i < y.rank(); ++i) call.need(i == axis || x.shape[i] == y.shape[i], "a tensor has another shape than the result");
    whole += x.shape[axis];
    shapes.push_back(x.shape);
  }
  call.need(whole == y.shape[axis], "the result has another length");
  if (!y.size()) return api::SUCCESS;
  return by_size(call, y, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    std::vector<const T*> data;
    for (const View& x : call.inputs) data.push_back(x.as<T>());
    return api::concat<T>(call.context, data, y.as<T>(), shapes, axis);
  });
}

// Rows of a table, whose first dim is looked up.
int gather(const Call& call) {
  const View &x = call.get("x"), &index = call.get("index"), &y = call.output;
  call.need(x.rank() >= 1 && equal(x.dtype, y.dtype), "the table has no rows, or the result another type");
  call.need(index.dtype.code == kDLInt && (index.dtype.bits == 32 || index.dtype.bits == 64), "indices are int32 or int64");
  const int64_t width = x.from(1);
  call.need(y.size() == index.size() * width, "the result has another size");
  return by_size(call, x, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    if (index.dtype.bits == 32)
      return api::gather<T, int32_t>(call.context, x.as<T>(), index.as<int32_t>(), y.as<T>(), x.shape[0], width, index.size());
    return api::gather<T, int64_t>(call.context, x.as<T>(), index.as<int64_t>(), y.as<T>(), x.shape[0], width, index.size());
  });
}
}  // namespace

void register_moves(std::map<std::string, Handler>& handlers) {
  handlers["softmax"] = softmax;
  handlers["layer_norm"] = layer_norm;
  handlers["reduce_sum"] = reduce<api::reduce_sum<float>>;
  handlers["reduce_mean"] = reduce<api::reduce_mean<float>>;
  handlers["reduce_max"] = reduce<api::reduce_max<float>>;
  handlers["reduce_min"] = reduce<api::reduce_min<float>>;
  handlers["max_pool2d"] = [](const Call& call) { return pool(call, true); };
  handlers["avg_pool2d"] = [](const Call& call) { return pool(call, false); };
  handlers["transpose"] = transpose;
  handlers["concat"] = concat;
  handlers["gather"] = gather;
}

}  // namespace oarlock_xpu
