// Pooling, and convolutions of one channel each: a core makes rows of results from the rows under them.
#include "tiles.h"
#include "windows.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

__global__ void pool(Window v, int takes_max, int with_padding, _global_ptr_ const float* x, _global_ptr_ float* y) {
  XPU_LOCAL(float, lm, kLine);
  XPU_LOCAL(float, out, kOut);
  const int most = windows_of_line(v);
  for (int64_t piece = unit(); piece < v.planes * v.oh; piece += units()) {
    const int64_t plane = piece / v.oh, oy = piece % v.oh;
    const int64_t y0 = oy * v.sh - v.top, rows = std::min<int64_t>(y0 + v.kh, v.h) - std::max<int64_t>(y0, 0);
    for (int64_t at = 0; at < v.ow; at += most) {
      const int n = static_cast<int>(v.ow - at < most ? v.ow - at : most);
      for (int i = 0; i < n; ++i) out[i] = takes_max ? -INFINITY : 0;
      for_lines(v, x + plane * v.h * v.w, oy, at, n, lm, [&](int, int64_t from, int64_t first, int size) {
        for (int c = 0; c < v.kw; ++c) {
          int lo, hi;
          inside(v, first, from, size, c, n, &lo, &hi);
          const float* column = lm + (first + c - from);
          if (takes_max) {
            for (int i = lo; i < hi; ++i) out[i] = out[i] > column[i * v.sw] || out[i] != out[i] ? out[i] : column[i * v.sw];
          } else {
            for (int i = lo; i < hi; ++i) out[i] += column[i * v.sw];
          }
        }
      });
      if (!takes_max) {
        for (int i = 0; i < n; ++i) {
          const int64_t x0 = (at + i) * v.sw - v.left;
          const int64_t columns = std::min<int64_t>(x0 + v.kw, v.w) - std::max<int64_t>(x0, 0);
          out[i] /= with_padding ? static_cast<float>(v.kh * v.kw) : static_cast<float>(rows * columns);
        }
      }
      XPU_OPS(static_cast<int64_t>(n) * v.kh * v.kw);
      LM2GM(out, y + piece * v.ow + at, n * sizeof(float));
    }
  }
}
XPU_KERNEL(pool)

__global__ void depthwise_rows(Window v, int multiplier, _global_ptr_ const float* x, _global_ptr_ const float* filter,
                               _global_ptr_ const float* bias, _global_ptr_ const float* branch, int act, float alpha,
                               _global_ptr_ float* y, _global_ptr_ float* y_max, int slots) {
  float found = 0;
  XPU_LOCAL(float, lm, kLine);
  XPU_LOCAL(float, out, kOut);
  XPU_LOCAL(float, taps, 64);  // of one row of the filter at a time
  XPU_LOCAL(float, one, kMostSlots);
  const int most = windows_of_line(v);
  const int64_t outputs = v.channels * multiplier;
  for (int64_t piece = unit(); piece < v.planes * multiplier * v.oh; piece += units()) {
    const int64_t output = piece / v.oh, oy = piece % v.oh, f = output % outputs;
    const int64_t plane = output / outputs * v.channels + f / multiplier;
    float start = 0;
    if (bias) {
      GM2LM(bias + f, one, sizeof(float));
      start = one[0];
    }
    for (int64_t at = 0; at < v.ow; at += most) {
      const int n = static_cast<int>(v.ow - at < most ? v.ow - at : most);
      for (int i = 0; i < n; ++i) out[i] = 0;
      for_lines(v, x + plane * v.h * v.w, oy, at, n, lm, [&](int r, int64_t from, int64_t first, int size) {
        GM2LM(filter + (f * v.kh + r) * v.kw, taps, v.kw * sizeof(float));
        for (int c = 0; c < v.kw; ++c) {
          int lo, hi;
          inside(v, first, from, size, c, n, &lo, &hi);
          const float* column = lm + (first + static_cast<int64_t>(c) * v.dw - from);
          const float tap = taps[c];
          for (int i = lo; i < hi; ++i) out[i] += tap * column[i * v.sw];
        }
      });
      for (int i = 0; i < n; ++i) out[i] += start;
      if (branch) {
        GM2LM(branch + piece * v.ow + at, lm, n * sizeof(float));
        for (int i = 0; i < n; ++i) out[i] += lm[i];
      }
      activate(static_cast<Activation_t::act_enum>(act), alpha, out, n);
      XPU_OPS(static_cast<int64_t>(n) * (2 * v.kh * v.kw + 1 + kActCost[act]));
      if (y_max) found = larger_of(out, n, found);
      LM2GM(out, y + piece * v.ow + at, n * sizeof(float));
    }
  }
  if (y_max) store_cluster_max(y_max, slots, found, one);
}
XPU_KERNEL(depthwise_rows)

__global__ void depthwise_tiles(Window v, Tiling t, int multiplier, _global_ptr_ const float* x, _global_ptr_ const float* filter,
                                _global_ptr_ const float* bias, _global_ptr_ const float* branch, int act, float alpha,
                                _global_ptr_ float* y, _global_ptr_ float* y_max, int slots) {
  float found = 0;
  XPU_LOCAL(float, lm, kRoom);
  XPU_LOCAL(float, one, kMostSlots);
  const int taps = v.kh * v.kw;
  const int64_t outputs = v.channels * multiplier;
  // of a piece: the first row of results, how many there are, and the first row of the input that is read
  auto first = [&](int64_t piece) { return piece % t.down * t.rows; };
  auto count = [&](int64_t oy) { return std::min<int64_t>(v.oh - oy, t.rows); };
  auto top = [&](int64_t oy) { return std::max<int64_t>(oy * v.sh - v.top, 0); };
  auto load = [&](int64_t piece, float* to) {
    const int64_t output = piece / t.down, oy = first(piece), f = output % outputs, plane = output / outputs * v.channels + f / multiplier;
    const int64_t from = top(oy), rows = std::min((oy + count(oy) - 1) * v.sh - v.top + v.kh, v.h) - from;
    GM2LM_ASYNC(filter + f * taps, to, taps * sizeof(float));
    if (bias) GM2LM_ASYNC(bias + f, to + taps, sizeof(float));
    if (rows > 0) GM2LM_ASYNC(x + (plane * v.h + from) * v.w, to + taps + 1, rows * v.w * sizeof(float));
  };
  each_tile(t, lm, load, [&](int64_t piece, float* now, float* out) {
    const int64_t oy = first(piece), rows = count(oy), from = top(oy), size = rows * v.ow, at = (piece / t.down * v.oh + oy) * v.ow;
    const float *lines = now + taps + 1, start = bias ? now[taps] : 0;
    for (int64_t i = 0; i < size; ++i) out[i] = 0;
    for (int64_t i = 0; i < rows; ++i) {
      for (int tap = 0; tap < taps; ++tap) {
        const int64_t line = (oy + i) * v.sh - v.top + tap / v.kw, column = static_cast<int64_t>(tap % v.kw) * v.dw - v.left;
        if (line < 0 || line >= v.h) continue;
        int lo, hi;
        inside(v, -v.left, 0, static_cast<int>(v.w), tap % v.kw, static_cast<int>(v.ow), &lo, &hi);
        const float *under = lines + (line - from) * v.w + column, factor = now[tap];
        for (int64_t j = lo; j < hi; ++j) out[i * v.ow + j] += factor * under[j * v.sw];
      }
    }
    for (int64_t i = 0; i < size; ++i) out[i] += start;
    if (branch) {
      GM2LM(branch + at, now, size * sizeof(float));
      for (int64_t i = 0; i < size; ++i) out[i] += now[i];
    }
    activate(static_cast<Activation_t::act_enum>(act), alpha, out, size);
    XPU_OPS(size * (2 * taps + 1 + kActCost[act]));
    if (y_max) found = larger_of(out, size, found);
    LM2GM_ASYNC(out, y + at, size * sizeof(float));
  });
  if (y_max) store_cluster_max(y_max, slots, found, one);
}
XPU_KERNEL(depthwise_tiles)

int pooled(Context* ctx, const char* name, bool takes_max, const float* x, float* y, const int* index, int64_t n, int64_t c, int64_t h,
           int64_t w, int64_t oh, int64_t ow, const std::vector<int>& ksize, const std::vector<int>& strides,
           const std::vector<int>& paddings, bool with_padding, bool is_nchw) {
  if (index || !is_nchw) return ctx->set_error(NOT_IMPLEMENT, std::string(name) + ": indices, and NHWC");
  if (ksize.size() != 2 || strides.size() != 2 || paddings.size() != 4)
    return ctx->set_error(INVALID_PARAM, std::string(name) + ": two sizes of a window, two strides and four paddings are needed");
  const Window v{n * c, c, h, w, oh, ow, ksize[0], ksize[1], strides[0], strides[1], paddings[0], paddings[2], 1, 1};
  if (!good_window(v)) return ctx->set_error(INVALID_PARAM, std::string(name) + ": a size is negative, or the window too wide");
  if (!pieces_of(v) || !ow) return SUCCESS;
  if (!x || !y) return ctx->set_error(INVALID_PARAM, std::string(name) + ": no data");
  return launched(ctx, name,
                  XPU_LAUNCH(pool, clusters_for(ctx, pieces_of(v)), ctx->ncore(), ctx->xpu_stream, v, static_cast<int>(takes_max),
                             static_cast<int>(with_padding), x, y));
}
}  // namespace

template <>
XPU_API int max_pool2d<float>(Context* ctx, const float* x, float* y, int* index, int64_t n, int64_t c, int64_t h, int64_t w, int64_t oh,
                              int64_t ow, const std::vector<int>& ksize, const std::vector<int>& strides, const std::vector<int>& paddings,
                              bool is_nchw) {
  return pooled(ctx, __func__, true, x, y, index, n, c, h, w, oh, ow, ksize, strides, paddings, false, is_nchw);
}

template <>
XPU_API int avg_pool2d<float>(Context* ctx, const float* x, float* y, int64_t n, int64_t c, int64_t h, int64_t w, int64_t oh, int64_t ow,
                              const std::vector<int>& ksize, const std::vector<int>& strides, const std::vector<int>& paddings,
                              bool count_include_pad, bool is_nchw) {
  return pooled(ctx, __func__, false, x, y, nullptr, n, c, h, w, oh, ow, ksize, strides, paddings, count_include_pad, is_nchw);
}

int depthwise(Context* ctx, const Window& v, const float* x, const float* filter, int multiplier, const float* bias, const float* branch,
              const Activation_t& act, float* y, float* y_max) {
  const int most = y_max ? ctx->max_ptr_size() : ctx->ncluster(), type = static_cast<int>(act.type), taps = v.kh * v.kw;
  if (v.dh == 1) {
    const Planes planes{v.planes * multiplier, v.w, v.oh, v.ow, taps + 1, 2 * taps + 3, branch != nullptr};
    const Tiling t = tiling(ctx, planes, most, [&](int64_t rows) { return std::min<int64_t>((rows - 1) * v.sh + v.kh, v.h); });
    if (t.rows)
      return launched(ctx, __func__,
                      XPU_LAUNCH(depthwise_tiles, t.clusters, ctx->ncore(), ctx->xpu_stream, v, t, multiplier, x, filter, bias, branch,
                                 type, act.alpha, y, y_max, ctx->max_ptr_size()));
  }
  // rows that are too wide, windows that are too large or have gaps: row by row
  const int clusters = std::min(clusters_for(ctx, pieces_of(v) * multiplier), most);
  return launched(ctx, __func__,
                  XPU_LAUNCH(depthwise_rows, clusters, ctx->ncore(), ctx->xpu_stream, v, multiplier, x, filter, bias, branch, type,
                             act.alpha, y, y_max, ctx->max_ptr_size()));
}

}  // namespace api
}  // namespace xpu
}  // namespace baidu
