// Functions of single elements: a core takes every so many tiles, and the next tile is on its way while it works on one.
#include "device.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

enum Op {
  ACT, EXP, LOG, SQRT, RSQRT, SQUARE, ABS, NEG, SCALE, SCALE_BEFORE, CLIP,  // clang-format off
  FLOOR, CEIL, ROUND, SIN, COS, RECIPROCAL, ERF, MISH, SOFTPLUS, ELU,      // clang-format on
};
constexpr int kCost[] = {0, 8, 8, 4, 5, 1, 1, 1, 2, 2, 2, 1, 1, 1, 8, 8, 4, 10, 14, 18, 9};

__device__ void apply(int op, int act, float a, float b, float* v, int n) {
  switch (op) {
    case ACT:
      activate(static_cast<Activation_t::act_enum>(act), a, v, n);
      return;
    case EXP:
      for (int i = 0; i < n; ++i) v[i] = expf(v[i]);
      return;
    case LOG:
      for (int i = 0; i < n; ++i) v[i] = logf(v[i]);
      return;
    case SQRT:
      for (int i = 0; i < n; ++i) v[i] = sqrtf(v[i]);
      return;
    case RSQRT:
      for (int i = 0; i < n; ++i) v[i] = 1 / sqrtf(v[i]);
      return;
    case SQUARE:
      for (int i = 0; i < n; ++i) v[i] *= v[i];
      return;
    case ABS:
      for (int i = 0; i < n; ++i) v[i] = fabsf(v[i]);
      return;
    case NEG:
      for (int i = 0; i < n; ++i) v[i] = -v[i];
      return;
    case SCALE:
      for (int i = 0; i < n; ++i) v[i] = v[i] * a + b;
      return;
    case SCALE_BEFORE:
      for (int i = 0; i < n; ++i) v[i] = (v[i] + b) * a;
      return;
    case CLIP:
      for (int i = 0; i < n; ++i) v[i] = v[i] < a ? a : v[i] > b ? b : v[i];
      return;
    case FLOOR:
      for (int i = 0; i < n; ++i) v[i] = floorf(v[i]);
      return;
    case CEIL:
      for (int i = 0; i < n; ++i) v[i] = ceilf(v[i]);
      return;
    case ROUND:  // half to even
      for (int i = 0; i < n; ++i) v[i] = nearbyintf(v[i]);
      return;
    case SIN:
      for (int i = 0; i < n; ++i) v[i] = sinf(v[i]);
      return;
    case COS:
      for (int i = 0; i < n; ++i) v[i] = cosf(v[i]);
      return;
    case RECIPROCAL:
      for (int i = 0; i < n; ++i) v[i] = 1 / v[i];
      return;
    case ERF:
      for (int i = 0; i < n; ++i) v[i] = erff(v[i]);
      return;
    case MISH:  // x · tanh(log(1 + eˣ)), by e = eˣ · (eˣ + 2); beyond 20 it is x
      for (int i = 0; i < n; ++i) {
        const float e = expf(fminf(v[i], 20)), both = e * (e + 2);
        v[i] *= both / (both + 2);
      }
      return;
    case SOFTPLUS:
      for (int i = 0; i < n; ++i) v[i] = v[i] * a > b ? v[i] : log1pf(expf(v[i] * a)) / a;
      return;
    case ELU:
      for (int i = 0; i < n; ++i) v[i] = v[i] < 0 ? a * expm1f(v[i]) : v[i];
      return;
  }
}

__global__ void elements(int op, int act, float a, float b, _global_ptr_ const float* x, _global_ptr_ float* y, int64_t len) {
  XPU_LOCAL(float, lm, 2 * kTile);
  const int64_t step = units() * kTile;
  auto size = [&](int64_t at) { return static_cast<int>(len - at < kTile ? len - at : kTile); };
  int64_t at = unit() * kTile;
  if (at >= len) return;
  float *now = lm, *next = lm + kTile;
  GM2LM(x + at, now, size(at) * sizeof(float));
  for (; at < len; at += step) {
    if (at + step < len) GM2LM_ASYNC(x + at + step, next, size(at + step) * sizeof(float));
    apply(op, act, a, b, now, size(at));
    XPU_OPS(size(at) * (op == ACT ? kActCost[act] : kCost[op]));
    LM2GM_ASYNC(now, y + at, size(at) * sizeof(float));
    mfence();
    std::swap(now, next);
  }
}
XPU_KERNEL(elements)

int run(Context* ctx, const char* name, int op, int act, float a, float b, const float* x, float* y, int64_t len) {
  if (len < 0 || (len && (!x || !y))) return ctx->set_error(INVALID_PARAM, std::string(name) + ": no data, or a negative length");
  if (!len) return SUCCESS;
  int clusters = clusters_for(ctx, (len + kTile - 1) / kTile);
  return launched(ctx, name, XPU_LAUNCH(elements, clusters, ctx->ncore(), ctx->xpu_stream, op, act, a, b, x, y, len));
}
}  // namespace

#define XPU_DEFINE_ACT(name, type)                                                \
  template <>                                                                     \
  XPU_API int name<float>(Context * ctx, const float* x, float* y, int64_t len) { \
    return run(ctx, #name, ACT, Activation_t::type, 0, 0, x, y, len);             \
  }
#define XPU_DEFINE_UNARY(name, op)                                                \
  template <>                                                                     \
  XPU_API int name<float>(Context * ctx, const float* x, float* y, int64_t len) { \
    return run(ctx, #name, op, 0, 0, 0, x, y, len);                               \
  }
XPU_DEFINE_ACT(relu, RELU)
XPU_DEFINE_ACT(relu6, RELU6)
XPU_DEFINE_ACT(sigmoid, SIGMOID)
XPU_DEFINE_ACT(tanh, TANH)
XPU_DEFINE_ACT(gelu, GELU)
XPU_DEFINE_ACT(swish, SWISH)
XPU_DEFINE_ACT(hard_swish, HARD_SWISH)
XPU_DEFINE_UNARY(exp, EXP)
XPU_DEFINE_UNARY(log, LOG)
XPU_DEFINE_UNARY(sqrt, SQRT)
XPU_DEFINE_UNARY(rsqrt, RSQRT)
XPU_DEFINE_UNARY(square, SQUARE)
XPU_DEFINE_UNARY(abs, ABS)
XPU_DEFINE_UNARY(neg, NEG)
XPU_DEFINE_UNARY(floor, FLOOR)
XPU_DEFINE_UNARY(ceil, CEIL)
XPU_DEFINE_UNARY(round, ROUND)
XPU_DEFINE_UNARY(sin, SIN)
XPU_DEFINE_UNARY(cos, COS)
XPU_DEFINE_UNARY(reciprocal, RECIPROCAL)
XPU_DEFINE_UNARY(erf, ERF)
XPU_DEFINE_UNARY(mish, MISH)
template <>
XPU_API int softplus<float>(Context* ctx, const float* x, float* y, int64_t len, float beta, float threshold) {
  return run(ctx, "softplus", SOFTPLUS, 0, beta, threshold, x, y, len);
}
template <>
XPU_API int elu<float>(Context* ctx, const float* x, float* y, int64_t len, float alpha) {
  return run(ctx, "elu", ELU, 0, alpha, 0, x, y, len);
}

template <>
XPU_API int leaky_relu<float>(Context* ctx, const float* x, float* y, int64_t len, float alpha) {
  return run(ctx, "leaky_relu", ACT, Activation_t::LEAKY_RELU, alpha, 0, x, y, len);
}
template <>
XPU_API int hard_sigmoid<float>(Context* ctx, const float* x, float* y, int64_t len, float slope) {
  return run(ctx, "hard_sigmoid", ACT, Activation_t::HARD_SIGMOID, slope, 0, x, y, len);
}
template <>
XPU_API int scale<float>(Context* ctx, const float* x, float* y, int64_t len, bool bias_after_scale, float alpha, float beta) {
  return run(ctx, "scale", bias_after_scale ? SCALE : SCALE_BEFORE, 0, alpha, beta, x, y, len);
}
template <>
XPU_API int clip<float>(Context* ctx, const float* x, float* y, int64_t len, float min, float max) {
  return run(ctx, "clip", CLIP, 0, min, max, x, y, len);
}

}  // namespace api
}  // namespace xpu
}  // namespace baidu
