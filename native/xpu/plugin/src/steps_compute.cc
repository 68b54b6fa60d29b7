// Products, convolutions and functions of elements.
#include <cmath>

#include "steps.h"

namespace oarlock_xpu {
namespace {

// What convolutions over pictures and volumes have in common: checked operands, and attributes of so many axes.
struct Convolution {
  const View &x, &w, &y;
  std::vector<int> ksize, strides, paddings, dilations;
  int64_t groups;
  const float *branch = nullptr, *bias = nullptr;

  Convolution(const Call& call, int axes)
      : x(call.need_float("x")),
        w(call.get("w")),
        y(call.need_float("result")),
        strides(call.step.list("strides", axes)),
        paddings(call.step.list("paddings", 2 * axes)),
        dilations(call.step.list("dilations", axes)),
        groups(call.step.integer("groups", 1)) {
    const int rank = axes + 2;
    const char* dims = axes == 3 ? "tensors of five dims are needed" : "tensors of four dims are needed";
    call.need(x.rank() == rank && w.rank() == rank && y.rank() == rank, dims);
    call.need(groups > 0 && x.shape[1] == w.shape[1] * groups && w.shape[0] % groups == 0, "the channels do not fit the filter");
    bool fits = y.shape[0] == x.shape[0] && y.shape[1] == w.shape[0];
    for (int i = 0; i < axes; ++i) {
      call.need(strides[i] > 0 && dilations[i] > 0, "a stride or a dilation is not positive");
      ksize.push_back(static_cast<int>(w.shape[i + 2]));
      const int64_t padded = x.shape[i + 2] + paddings[2 * i] + paddings[2 * i + 1];
      fits &= y.shape[i + 2] == (padded - dilations[i] * (ksize[i] - 1) - 1) / strides[i] + 1;
    }
    call.need(fits, "the result has another shape");
    if (call.find("branch")) {
      branch = call.need_float("branch").as<float>();
      call.need(call.get("branch").shape == y.shape, "the branch has another shape than the result");
    }
    bias = call.vector_of("bias", w.shape[0]);
  }
};

int conv2d_fusion(const Call& call) {
  const Convolution c(call, 2);
  const float *x_max = call.maxima("x_max"), *w_max = call.maxima("w_max"), *scale_max = call.vector_of("scale_max", c.w.shape[0]);
  return by_weights(call, c.w, [&](auto* filter) {
    using T = std::remove_pointer_t<decltype(filter)>;
    return api::conv2d_fusion<float, T, float, T>(call.context, c.x.as<float>(), filter, c.y.as<float>(), c.x.shape[0], c.x.shape[1],
                                                  c.x.shape[2], c.x.shape[3], c.w.shape[0], c.ksize, c.strides, c.paddings, c.dilations,
                                                  c.groups, x_max, w_max, call.y_max(), true, c.bias, c.branch, call.step.activation(),
                                                  nullptr, scale_max);
  });
}

int conv3d_fusion(const Call& call) {
  const Convolution c(call, 3);
  return api::conv3d_fusion<float, float, float, float>(
      call.context, c.x.as<float>(), call.need_float("w").as<float>(), c.y.as<float>(), c.x.shape[0], c.x.shape[1], c.x.shape[2],
      c.x.shape[3], c.x.shape[4], c.w.shape[0], c.ksize, c.strides, c.paddings, c.dilations, c.groups, nullptr, nullptr, nullptr, true,
      c.bias, c.branch, call.step.activation());
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
  handlers["conv3d_fusion"] = conv3d_fusion;
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
