// Products, convolutions and functions of elements.
#include <cmath>

#include "steps.h"

namespace oarlock_xpu {
namespace {

int conv2d_fusion(const Call& call) {
  const View &x = call.need_float("x"), &w = call.get("w"), &y = call.need_float("result");
  call.need(x.rank() == 4 && w.rank() == 4 && y.rank() == 4, "tensors of four dims are needed");
  const auto strides = call.step.list("strides", 2), paddings = call.step.list("paddings", 4), dilations = call.step.list("dilations", 2);
  const int64_t groups = call.step.integer("groups", 1);
  call.need(groups > 0 && x.shape[1] == w.shape[1] * groups && w.shape[0] % groups == 0, "the channels do not fit the filter");
  call.need(strides[0] > 0 && strides[1] > 0 && dilations[0] > 0 && dilations[1] > 0, "a stride or a dilation is not positive");
  auto length = [&](int axis, int stride, int before, int after, int dilation) {
    return (x.shape[axis] + before + after - dilation * (w.shape[axis] - 1) - 1) / stride + 1;
  };
  call.need(y.shape[0] == x.shape[0] && y.shape[1] == w.shape[0] &&
                y.shape[2] == length(2, strides[0], paddings[0], paddings[1], dilations[0]) &&
                y.shape[3] == length(3, strides[1], paddings[2], paddings[3], dilations[1]),
            "the result has another shape");
  const float* branch = call.find("branch") ? call.need_float("branch").as<float>() : nullptr;
  call.need(!branch || call.get("branch").shape == y.shape, "the branch has another shape than the result");
  const float *bias = call.vector_of("bias", w.shape[0]), *x_max = call.maxima("x_max"), *w_max = call.maxima("w_max");
  const float* scale_max = call.vector_of("scale_max", w.shape[0]);
  return by_weights(call, w, [&](auto* filter) {
    using T = std::remove_pointer_t<decltype(filter)>;
    return api::conv2d_fusion<float, T, float, T>(call.context, x.as<float>(), filter, y.as<float>(), x.shape[0], x.shape[1], x.shape[2],
                                                  x.shape[3], w.shape[0], {static_cast<int>(w.shape[2]), static_cast<int>(w.shape[3])},
                                                  strides, paddings, dilations, groups, x_max, w_max, call.y_max(), true, bias, branch,
                                                  call.step.activation(), nullptr, scale_max);
  });
}

int fc_fusion(const Call& call) {
  const View &x = call.need_float("x"), &w = call.get("w"), &y = call.need_float("result");
  const bool wtrans = call.step.integer("wtrans", 0);
  call.need(x.rank() >= 1 && w.rank() == 2 && y.rank() == x.rank(), "x and the result have other ranks, or w no two dims");
  const int64_t k = x.shape.back(), n = w.shape[wtrans ? 0 : 1], m = k ? x.size() / k : y.size() / std::max<int64_t>(n, 1);
  call.need(w.shape[wtrans ? 1 : 0] == k, "the depth of x is not that of w");
  call.need(y.shape.back() == n && y.size() == m * n, "the result has another shape");
  const float *bias = call.vector_of("bias", n), *x_max = call.maxima("x_max"), *w_max = call.maxima("w_max");
  const float* w_columns = call.vector_of("w_columns", n);
  return by_weights(call, w, [&](auto* weights) {
    using T = std::remove_pointer_t<decltype(weights)>;
    return api::fc_fusion<float, T, float, T>(call.context, x.as<float>(), weights, y.as<float>(), m, n, k, false, wtrans, x_max, w_max,
                                              call.y_max(), k, wtrans ? k : n, n, 1, 0, bias, call.step.activation(), w_columns);
  });
}

int fc_batched(const Call& call) {
  const View &x = call.need_float("x"), &w = call.need_float("w"), &y = call.need_float("result");
  const bool wtrans = call.step.integer("wtrans", 0);
  call.need(x.rank() >= 2 && w.rank() >= 2 && y.rank() >= 2, "matrices are needed");
  const int64_t m = x.shape[x.rank() - 2], k = x.shape.back(), n = w.shape[w.rank() - (wtrans ? 2 : 1)];
  call.need(w.shape[w.rank() - (wtrans ? 1 : 2)] == k, "the depth of x is not that of w");
  auto batch_of = [](const View& v) { return v.rank() > 2 ? v.from(0) / std::max<int64_t>(v.from(v.rank() - 2), 1) : 1; };
  const int64_t of_x = batch_of(x), of_w = batch_of(w), batch = std::max(of_x, of_w);
  call.need(y.size() == batch * m * n && (of_x == batch || of_x == 1) && (of_w == batch || of_w == 1), "the batches differ");
  return api::fc_batched<float, float, float, float>(call.context, batch, false, wtrans, m, n, k, 1, x.as<float>(), of_x == 1 ? 0 : m * k,
                                                     w.as<float>(), of_w == 1 ? 0 : k * n, 0, y.as<float>(), m * n, nullptr, nullptr);
}

template <int (*function)(api::Context*, const float*, float*, int64_t)>
int unary(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.size() == y.size(), "the result has another size");
  return function(call.context, x.as<float>(), y.as<float>(), x.size());
}

int leaky_relu(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.size() == y.size(), "the result has another size");
  return api::leaky_relu<float>(call.context, x.as<float>(), y.as<float>(), x.size(), static_cast<float>(call.step.number("alpha", 0.01)));
}

int elu(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.size() == y.size(), "the result has another size");
  return api::elu<float>(call.context, x.as<float>(), y.as<float>(), x.size(), static_cast<float>(call.step.number("alpha", 1)));
}

int softplus(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.size() == y.size(), "the result has another size");
  return api::softplus<float>(call.context, x.as<float>(), y.as<float>(), x.size(), static_cast<float>(call.step.number("beta", 1)),
                              static_cast<float>(call.step.number("threshold", 20)));
}

int hard_sigmoid(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.size() == y.size(), "the result has another size");
  return api::hard_sigmoid<float>(call.context, x.as<float>(), y.as<float>(), x.size(), static_cast<float>(call.step.number("slope", 0.2)));
}

int findmax(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(y.size() == call.context->max_ptr_size(), "a max pointer has another number of floats on this chip");
  return api::findmax<float>(call.context, x.as<float>(), y.as<float>(), x.size());
}

int scale(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.size() == y.size(), "the result has another size");
  return api::scale<float>(call.context, x.as<float>(), y.as<float>(), x.size(), true, static_cast<float>(call.step.number("alpha", 1)),
                           static_cast<float>(call.step.number("beta", 0)));
}

int clip(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.size() == y.size(), "the result has another size");
  return api::clip<float>(call.context, x.as<float>(), y.as<float>(), x.size(), static_cast<float>(call.step.number("min", -INFINITY)),
                          static_cast<float>(call.step.number("max", INFINITY)));
}

template <int (*function)(api::Context*, const float*, const float*, float*, const std::vector<int64_t>&, const std::vector<int64_t>&)>
int binary(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("y"), &z = call.need_float("result");
  const size_t rank = std::max(x.shape.size(), y.shape.size());
  call.need(z.shape.size() == rank, "the result has another rank");
  for (size_t i = 0; i < rank; ++i) {
    auto dim = [&](const View& v) { return i + v.shape.size() < rank ? 1 : v.shape[i + v.shape.size() - rank]; };
    const int64_t a = dim(x), b = dim(y);
    call.need((a == b || a == 1 || b == 1) && z.shape[i] == (a == 1 ? b : a), "the shapes cannot be broadcast to the result's");
  }
  return function(call.context, x.as<float>(), y.as<float>(), z.as<float>(), x.shape, y.shape);
}
}  // namespace

void register_handlers(std::map<std::string, Handler>& handlers) {
  handlers["conv2d_fusion"] = conv2d_fusion;
  handlers["fc_fusion"] = fc_fusion;
  handlers["fc_batched"] = fc_batched;
  handlers["leaky_relu"] = leaky_relu;
  handlers["findmax"] = findmax;
  handlers["elu"] = elu;
  handlers["softplus"] = softplus;
  handlers["hard_sigmoid"] = hard_sigmoid;
  handlers["scale"] = scale;
  handlers["clip"] = clip;
#define XPU_UNARY(name) handlers[#name] = unary<api::name<float>>;
  XPU_UNARY(relu)
  XPU_UNARY(relu6)
  XPU_UNARY(sigmoid)
  XPU_UNARY(tanh)
  XPU_UNARY(gelu)
  XPU_UNARY(swish)
  XPU_UNARY(hard_swish)
  XPU_UNARY(exp)
  XPU_UNARY(log)
  XPU_UNARY(sqrt)
  XPU_UNARY(rsqrt)
  XPU_UNARY(square)
  XPU_UNARY(abs)
  XPU_UNARY(neg)
  XPU_UNARY(floor)
  XPU_UNARY(ceil)
  XPU_UNARY(round)
  XPU_UNARY(sin)
  XPU_UNARY(cos)
  XPU_UNARY(reciprocal)
  XPU_UNARY(erf)
  XPU_UNARY(mish)
#undef XPU_UNARY
#define XPU_BINARY(name) handlers[#name] = binary<api::name<float>>;
  XPU_BINARY(broadcast_add)
  XPU_BINARY(broadcast_sub)
  XPU_BINARY(broadcast_mul)
  XPU_BINARY(broadcast_div)
  XPU_BINARY(broadcast_max)
  XPU_BINARY(broadcast_min)
  XPU_BINARY(broadcast_pow)
#undef XPU_BINARY
}

}  // namespace oarlock_xpu
