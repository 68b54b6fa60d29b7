// Convolutions on the matrix units, as products of filters and windows that are laid out as lines of the input come in.
#include "numbers.h"
#include "windows.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kF = 128, kP = 256, kK = 256;  // filters, pixels of the result, and taps of a tile
constexpr int kInput = 8192;                 // floats of an input line

struct Conv {
  int64_t n, c, d, h, w, f, od, oh, ow, groups;  // a picture has one slice: d, od and kd are 1
  int kd, kh, kw, sd, sh, sw, front, top, left, dd, dh, dw, max_ptr, tile_f, act, each_filter;  // each_filter: filter_max has one a filter
  float act_alpha;
};

// The windows of pixels [p0, p0 + p) and taps [k0, k0 + k), which are whole rows of windows, of one group's channels.
template <typename G>
__device__ void load_windows(const Conv& a, const float* x, int64_t p0, int64_t p, int64_t k0, int64_t k, Scale<G> factor,
                             typename Number<G>::Element* tile, float* line) {
  const bool one = a.kd == 1 && a.kh == 1 && a.kw == 1 && a.sd == 1 && a.sh == 1 && a.sw == 1 && !a.front && !a.top && !a.left;
  if (one && a.od == a.d && a.oh == a.h && a.ow == a.w) {
    if constexpr (Number<G>::kType == SDNN_FLOAT) {
      const int64_t plane = a.d * a.h * a.w;
      SDNN_LOAD(tile, x + k0 * plane + p0, k, p * sizeof(float), plane * sizeof(float), p * sizeof(float));
      return;
    }
  }
  for (int64_t r = 0; r < k; r += a.kw) {
    const int64_t row = (k0 + r) / a.kw % a.kh, slice = (k0 + r) / (a.kw * a.kh) % a.kd, channel = (k0 + r) / (a.kw * a.kh * a.kd);
    for (int64_t at = p0; at < p0 + p;) {
      const int64_t oz = at / (a.ow * a.oh), oy = at / a.ow % a.oh, ox = at % a.ow, n = std::min(a.ow - ox, p0 + p - at);
      const int64_t iz = oz * a.sd - a.front + slice * a.dd, iy = oy * a.sh - a.top + row * a.dh;
      const int64_t first = ox * a.sw - a.left, end = first + (n - 1) * a.sw + static_cast<int64_t>(a.kw - 1) * a.dw + 1;
      const int64_t from = std::max<int64_t>(first, 0), to = std::min<int64_t>(end, a.w);
      const bool empty = iz < 0 || iz >= a.d || iy < 0 || iy >= a.h || from >= to;
      if (!empty)
        SDNN_LOAD(line, x + ((channel * a.d + iz) * a.h + iy) * a.w + from, 1, (to - from) * sizeof(float), 0, (to - from) * sizeof(float));
      for (int c = 0; c < a.kw; ++c) {
        typename Number<G>::Element* out = tile + (r + c) * p + (at - p0);
        const int64_t start = first + static_cast<int64_t>(c) * a.dw;
        int64_t lo = 0, hi = 0;  // windows whose tap lies in the line
        if (!empty) {
          lo = start >= from ? 0 : (from - start + a.sw - 1) / a.sw;
          hi = start >= to ? 0 : std::min(n, (to - 1 - start) / a.sw + 1);
          lo = std::min(lo, n);
          hi = std::max(lo, hi);
        }
        for (int64_t i = 0; i < lo; ++i) out[i] = 0;
        for (int64_t i = lo; i < hi; ++i) out[i] = rounded<G>(line[start + i * a.sw - from], factor);
        for (int64_t i = hi; i < n; ++i) out[i] = 0;
      }
      at += n;
    }
  }
}

template <typename TW>
__device__ void load_filters(int16_t* tile, const TW* from, int64_t rows, int64_t k, int64_t stride, TW* stage) {
  SDNN_LOAD(stage, from, rows, k * sizeof(TW), stride * sizeof(TW), k * sizeof(TW));
  for (int64_t i = 0; i < rows * k; ++i) tile[i] = stage[i];
}
__device__ void load_filters(float* tile, const float16* from, int64_t rows, int64_t k, int64_t stride, float16* stage) {
  SDNN_LOAD(stage, from, rows, k * sizeof(float16), stride * sizeof(float16), k * sizeof(float16));
  for (int64_t i = 0; i < rows * k; ++i) tile[i] = to_float(stage[i]);
}
__device__ void load_filters(int32_t* tile, const int32_t* from, int64_t rows, int64_t k, int64_t stride, int32_t*) {
  SDNN_LOAD(tile, from, rows, k * sizeof(int32_t), stride * sizeof(int32_t), k * sizeof(int32_t));
}
__device__ void load_filters(float* tile, const float* from, int64_t rows, int64_t k, int64_t stride, float*) {
  SDNN_LOAD(tile, from, rows, k * sizeof(float), stride * sizeof(float), k * sizeof(float));
}

template <typename TW, typename G>
__device__ void conv_unit(const Conv& a, const float* x, const TW* filter, float* y, const float* bias, const float* branch,
                          const float* x_max, const float* filter_max, float* y_max) {
  using Element = typename Number<G>::Element;
  using Sum = typename Number<G>::Sum;
  SDNN_BUFFER(Element, filters, kF * kK);
  SDNN_BUFFER(TW, stage, Number<G>::kType == SDNN_FLOAT || Number<G>::kType == SDNN_INT31 ? 1 : kF * kK);
  SDNN_BUFFER(Element, windows, kK * kP);
  SDNN_BUFFER(Sum, sums, kF * kP);
  SDNN_BUFFER(float, out, kF* kP);
  SDNN_BUFFER(float, line, kInput);
  Scale<G> factor = 1, unscale = 1;
  float found = 0;
  if constexpr (Number<G>::kScaled) {
    const float of_x = largest(x_max, a.max_ptr, line), of_w = a.each_filter ? 1 : largest(filter_max, a.max_ptr, line);
    factor = factor_of<G>(of_x);
    unscale = of_x / Number<G>::kMax * (of_w / Number<G>::kMax);
  }
  const int64_t channels = a.c / a.groups, taps = channels * a.kd * a.kh * a.kw, of_group = a.f / a.groups, pixels = a.od * a.oh * a.ow;
  const int64_t f_tiles = (of_group + a.tile_f - 1) / a.tile_f, p_tiles = (pixels + kP - 1) / kP, step = kK / a.kw * a.kw;
  for (int64_t task = sdnn_id(); task < a.n * a.groups * f_tiles * p_tiles; task += sdnn_num()) {
    const int64_t p0 = task % p_tiles * kP, f0 = task / p_tiles % f_tiles * a.tile_f;
    const int64_t group = task / (p_tiles * f_tiles) % a.groups, image = task / (p_tiles * f_tiles * a.groups);
    const int64_t p = std::min<int64_t>(kP, pixels - p0), f = std::min<int64_t>(a.tile_f, of_group - f0), first = group * of_group + f0;
    const float* plane = x + (image * a.c + group * channels) * a.d * a.h * a.w;
    memset(sums, 0, f * p * sizeof(Sum));
    for (int64_t k0 = 0; k0 < taps; k0 += step) {
      const int64_t k = std::min(step, taps - k0);
      load_filters(filters, filter + first * taps + k0, f, k, taps, stage);
      load_windows<G>(a, plane, p0, p, k0, k, factor, windows, line);
      multiply<G>(filters, windows, sums, f, p, k, k, p, p);
    }
    const int64_t at = (image * a.f + first) * pixels + p0;
    if (branch) SDNN_LOAD(out, branch + at, f, p * sizeof(float), pixels * sizeof(float), p * sizeof(float));
    if (bias) SDNN_LOAD(line, bias + first, 1, f * sizeof(float), 0, f * sizeof(float));
    if (a.each_filter) SDNN_LOAD(line + kF, filter_max + first, 1, f * sizeof(float), 0, f * sizeof(float));
    for (int64_t i = 0; i < f; ++i) {
      const float b = bias ? line[i] : 0;
      const Scale<G> step = a.each_filter ? unscale * line[kF + i] : unscale;
      for (int64_t j = i * p; j < (i + 1) * p; ++j) {
        const float v = worth<G>(sums[j], step) + b;
        out[j] = branch ? v + out[j] : v;
      }
    }
    activate(static_cast<Activation_t::act_enum>(a.act), a.act_alpha, out, f * p);
    if (y_max) found = largest_of(out, f * p, found);
    SDNN_STORE(out, y + at, f, p * sizeof(float), pixels * sizeof(float), p * sizeof(float));
  }
  if (y_max) store_max(y_max, a.max_ptr, found, line);
}

#define XPU_CONV(name, TW, G)                                                                                             \
  __global__ void name(Conv a, _global_ptr_ const float* x, _global_ptr_ const TW* filter, _global_ptr_ float* y,         \
                       _global_ptr_ const float* bias, _global_ptr_ const float* branch, _global_ptr_ const float* x_max, \
                       _global_ptr_ const float* filter_max, _global_ptr_ float* y_max) {                                 \
    conv_unit<TW, G>(a, x, filter, y, bias, branch, x_max, filter_max, y_max);                                            \
  }                                                                                                                       \
  XPU_SDNN_KERNEL(name)
XPU_CONV(conv_float, float, float)
XPU_CONV(conv_float16, float16, float16)
XPU_CONV(conv_int16, int16_t, int16_t)
XPU_CONV(conv_int8, int8_t, int8_t)
XPU_CONV(conv_int31, int32_t, int32_t)

template <typename TW>
int run(Context* ctx, const char* name, Conv a, const float* x, const TW* filter, float* y, const float* x_max, const float* filter_max,
        float* y_max, const float* bias, const float* branch, const Activation_t& act) {
  auto wrong = [&](const char* why) { return ctx->set_error(INVALID_PARAM, std::string(name) + ": " + why); };
  if (a.n < 0 || a.c < 1 || a.d < 1 || a.h < 1 || a.w < 1 || a.f < 1 || a.groups < 1 || a.c % a.groups || a.f % a.groups)
    return wrong("a size, or groups");
  if (std::min({a.kd, a.kh, a.kw, a.sd, a.sh, a.sw, a.dd, a.dh, a.dw}) < 1 || std::min({a.front, a.top, a.left}) < 0)
    return wrong("a size of the window");
  if (a.kw > kK || static_cast<int64_t>(kP) * a.sw + static_cast<int64_t>(a.kw) * a.dw > kInput) return wrong("the window is too wide");
  if (!a.n || a.od < 1 || a.oh < 1 || a.ow < 1) return SUCCESS;
  if (!x || !filter || !y) return wrong("no data");
  int status = SUCCESS;
  const bool plane = a.d == 1 && a.kd == 1 && a.od == 1 && !a.front;  // no slices of padding before, between or after it
  if (a.groups == a.c && plane && a.kw <= 64 && std::is_same<TW, float>::value) {
    const Window v{a.n * a.c, a.c, a.h, a.w, a.oh, a.ow, a.kh, a.kw, a.sh, a.sw, a.top, a.left, a.dh, a.dw};
    if (!good_window(v)) return wrong("the window is too wide");
    return depthwise(ctx, v, x, reinterpret_cast<const float*>(filter), static_cast<int>(a.f / a.c), bias, branch, act, y, y_max);
  } else {
    a.max_ptr = ctx->max_ptr_size();
    if (a.max_ptr > kMaxPtr) return wrong("the device's max pointers have too many floats");
    if constexpr (Number<TW>::kScaled) {
      if (!filter_max) return wrong("integer filters need filter_max");
      x_max = max_of(ctx, x, x_max, a.n * a.c * a.d * a.h * a.w);
      if (!x_max) return RUNTIME_ERROR;
    }
    const int64_t tasks = a.n * a.groups * ((a.od * a.oh * a.ow + kP - 1) / kP), wanted = (ctx->nsdnn() + tasks - 1) / tasks;
    const int64_t f = a.f / a.groups;
    a.tile_f = static_cast<int>(std::clamp<int64_t>(((f + wanted - 1) / wanted + 7) / 8 * 8, 8, kF));
    if constexpr (std::is_same<TW, float>::value) {
      status = XPU_LAUNCH(conv_float, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, filter, y, bias, branch, x_max, filter_max, y_max);
    } else if constexpr (std::is_same<TW, float16>::value) {
      status = XPU_LAUNCH(conv_float16, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, filter, y, bias, branch, x_max, filter_max, y_max);
    } else if constexpr (std::is_same<TW, int16_t>::value) {
      status = XPU_LAUNCH(conv_int16, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, filter, y, bias, branch, x_max, filter_max, y_max);
    } else if constexpr (std::is_same<TW, int32_t>::value) {
      status = XPU_LAUNCH(conv_int31, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, filter, y, bias, branch, x_max, filter_max, y_max);
    } else {
      status = XPU_LAUNCH(conv_int8, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, filter, y, bias, branch, x_max, filter_max, y_max);
    }
    status = launched(ctx, name, status);
  }
  return status;
}

// Sizes of three axes each; paddings: before and after of each.
Conv conv_of(int64_t n, int64_t c, int64_t d, int64_t h, int64_t w, int64_t f, int64_t groups, const std::vector<int>& ksize,
             const std::vector<int>& strides, const std::vector<int>& paddings, const std::vector<int>& dilations, const Activation_t& act,
             const float* scale_max) {
  auto size = [&](int64_t in, int axis) {
    return (in + paddings[2 * axis] + paddings[2 * axis + 1] - dilations[axis] * (ksize[axis] - 1) - 1) / strides[axis] + 1;
  };
  return {n,           c,           d,           h,          w,          f,         size(d, 0),           size(h, 1),    size(w, 2),
          groups,      ksize[0],    ksize[1],    ksize[2],   strides[0], strides[1], strides[2],          paddings[0],   paddings[2],
          paddings[4], dilations[0], dilations[1], dilations[2], 0,      0,         act.type, scale_max != nullptr, act.alpha};
}
}  // namespace

#define XPU_DEFINE_CONV(TW)                                                                                                                \
  template <>                                                                                                                              \
  XPU_API int conv2d_fusion<float, TW, float, TW>(                                                                                         \
      Context * ctx, const float* x, const TW* filter, float* y, int64_t n, int64_t c, int64_t h, int64_t w, int64_t f,                    \
      const std::vector<int>& ksize, const std::vector<int>& strides, const std::vector<int>& paddings, const std::vector<int>& dilations, \
      int64_t groups, const float* x_max, const float* filter_max, float* y_max, bool is_nchw, const float* bias, const float* branch,     \
      const Activation_t& act, const float*, const float* scale_max) {                                                                     \
    XPU_CHECK_PARAM(ksize.size() == 2 && strides.size() == 2 && paddings.size() == 4 && dilations.size() == 2);                            \
    XPU_CHECK_PARAM(is_nchw && strides[0] > 0 && strides[1] > 0);                                                                          \
    const Conv a = conv_of(n, c, 1, h, w, f, groups, {1, ksize[0], ksize[1]}, {1, strides[0], strides[1]},                                 \
                           {0, 0, paddings[0], paddings[1], paddings[2], paddings[3]}, {1, dilations[0], dilations[1]}, act, scale_max);   \
    return run<TW>(ctx, "conv2d_fusion", a, x, filter, y, x_max, scale_max ? scale_max : filter_max, y_max, bias, branch, act);            \
  }
XPU_DEFINE_CONV(float)
XPU_DEFINE_CONV(float16)
XPU_DEFINE_CONV(int16_t)
XPU_DEFINE_CONV(int8_t)
XPU_DEFINE_CONV(int32_t)

template <>
XPU_API int conv3d_fusion<float, float, float, float>(
    Context* ctx, const float* x, const float* filter, float* y, int64_t n, int64_t c, int64_t d, int64_t h, int64_t w, int64_t f,
    const std::vector<int>& ksize, const std::vector<int>& strides, const std::vector<int>& paddings, const std::vector<int>& dilations,
    int64_t groups, const float* x_max, const float* filter_max, float* y_max, bool is_ncdhw, const float* bias, const float* branch,
    const Activation_t& act) {
  XPU_CHECK_PARAM(ksize.size() == 3 && strides.size() == 3 && paddings.size() == 6 && dilations.size() == 3);
  XPU_CHECK_PARAM(is_ncdhw && std::min({strides[0], strides[1], strides[2]}) > 0);
  const Conv a = conv_of(n, c, d, h, w, f, groups, ksize, strides, paddings, dilations, act, nullptr);
  return run<float>(ctx, "conv3d_fusion", a, x, filter, y, x_max, filter_max, y_max, bias, branch, act);
}

}  // namespace api
}  // namespace xpu
}  // namespace baidu
