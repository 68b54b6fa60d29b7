// Functions of rows and windows.
#include "steps.h"

namespace oarlock_xpu {
namespace {

int softmax(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.shape == y.shape, "the result has another shape");
  return api::softmax<float>(call.context, x.as<float>(), y.as<float>(), x.shape, static_cast<int>(call.step.integer("axis")));
}

// layer_norm and rms_layer_norm; of x + other where there is one, whose sum is a second result then, if it is wanted.
int norm(const Call& call, bool rms) {
  const View &x = call.need_float("x"), &y = call.need_float("result"), *other = call.find("other");
  call.need(x.shape == y.shape, "the result has another shape");
  call.need(!other || (call.need_float("other").shape == x.shape), "what is added has another shape");
  const int64_t dims = call.step.integer("dims", 1);  // the trailing ones that are normalised
  call.need(dims >= 1 && dims <= x.rank(), "there are not so many dims");
  const int64_t n = x.from(x.rank() - static_cast<int>(dims)), m = n ? x.size() / n : 0;
  float* sum = nullptr;
  for (const View& view : call.outputs) {
    if (std::string(view.role) != "sum") continue;
    call.need(is_float(view) && view.shape == x.shape, "the sum has another shape");
    sum = view.as<float>();
  }
  const float eps = static_cast<float>(call.step.number("eps", 1e-5));
  const float *scale = call.vector_of("scale", n), *bias = call.vector_of("bias", n);
  return (rms ? api::rms_layer_norm<float> : api::add_layer_norm<float>)(call.context, x.as<float>(), other ? other->as<float>() : nullptr,
                                                                          y.as<float>(), m, n, eps, scale, bias, sum, call.y_max());
}

// [batch, channels, …]: groups of channels, or each channel; statistics of the tensor, or known ones.
int channel_norm(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.shape == y.shape && x.rank() >= 2, "the result has another shape, or there are no channels");
  const int64_t n = x.shape[0], c = x.shape[1], hw = x.from(2);
  const float eps = static_cast<float>(call.step.number("eps", 1e-5));
  const float *scale = call.vector_of("scale", c), *bias = call.vector_of("bias", c);
  const api::Activation_t act = call.step.activation();
  if (call.step.api == "group_norm")
    return api::group_norm<float>(call.context, x.as<float>(), y.as<float>(), n, c, hw, call.step.integer("groups"), eps, scale, bias, act);
  if (call.step.api == "instance_norm")
    return api::instance_norm<float>(call.context, x.as<float>(), y.as<float>(), n, c, hw, eps, scale, bias, act);
  return api::batch_norm_infer<float>(call.context, x.as<float>(), y.as<float>(), n, c, hw, scale, bias, act);
}

int argmax(const Call& call) {
  const View &x = call.need_float("x"), &y = call.output;
  int axis = static_cast<int>(call.step.integer("axis"));
  axis += axis < 0 ? x.rank() : 0;
  call.need(axis >= 0 && axis < x.rank() && x.shape[axis] > 0 && y.size() * x.shape[axis] == x.size(), "the result has another size");
  return by_index(call, y, [&](auto* places) {
    using T = std::remove_pointer_t<decltype(places)>;
    return api::argmax<float, T>(call.context, x.as<float>(), places, x.shape, axis, call.step.integer("smallest", 0));
  });
}

int cumsum(const Call& call) {
  const View &x = call.get("x"), &y = call.output;
  const int axis = static_cast<int>(call.step.integer("axis"));
  const bool exclusive = call.step.integer("exclusive", 0);
  call.need(x.shape == y.shape && equal(x.dtype, y.dtype), "the result has another shape or type");
  if (is_float(x)) return api::cumsum<float>(call.context, x.as<float>(), y.as<float>(), x.shape, axis, exclusive);
  return by_index(call, x, [&](auto* from) {
    using T = std::remove_pointer_t<decltype(from)>;
    return api::cumsum<T>(call.context, from, y.as<T>(), x.shape, axis, exclusive);
  });
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

int interpolate(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.rank() == 4 && y.rank() == 4 && x.shape[0] == y.shape[0] && x.shape[1] == y.shape[1],
            "tensors of four dims, and of equal planes, are needed");
  call.need(!y.size() || x.size(), "there is nothing to resize");
  return api::interpolate2d<float>(call.context, x.as<float>(), y.as<float>(), x.shape[0], x.shape[1], x.shape[2], x.shape[3], y.shape[2],
                                   y.shape[3], call.step.integer("nearest") != 0, static_cast<int>(call.step.integer("trans_mode")), true,
                                   static_cast<float>(call.step.number("scale_h", 0)), static_cast<float>(call.step.number("scale_w", 0)));
}

}  // namespace

void register_rows(std::map<std::string, Handler>& handlers) {
  handlers["softmax"] = softmax;
  handlers["layer_norm"] = handlers["add_layer_norm"] = [](const Call& call) { return norm(call, false); };
  handlers["rms_layer_norm"] = [](const Call& call) { return norm(call, true); };
  handlers["group_norm"] = handlers["instance_norm"] = handlers["batch_norm_infer"] = channel_norm;
  handlers["argmax"] = argmax;
  handlers["cumsum"] = cumsum;
  handlers["reduce_sum"] = reduce<api::reduce_sum<float>>;
  handlers["reduce_mean"] = reduce<api::reduce_mean<float>>;
  handlers["reduce_max"] = reduce<api::reduce_max<float>>;
  handlers["reduce_min"] = reduce<api::reduce_min<float>>;
  handlers["interpolate2d"] = interpolate;
  handlers["max_pool2d"] = [](const Call& call) { return pool(call, true); };
  handlers["avg_pool2d"] = [](const Call& call) { return pool(call, false); };
}

}  // namespace oarlock_xpu
