// Resizing of planes: nearest, and bilinear by the rows above and below.
#include "tiles.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

struct Resize {
  int64_t planes, h, w, oh, ow;
  float step_h, step_w;  // of the input, between two results
  int nearest, half, up;  // half: centres of pixels correspond; up: the nearest one is rounded, not cut
};

// The input's row or column at or before result i, and what the next one counts.
struct Between {
  int64_t low;
  float share;
};
__device__ Between between(const Resize& a, float step, int64_t i, int64_t size) {
  const float at = static_cast<float>(i);
  if (a.nearest) {
    volatile const float scaled = step * at;
    return {std::min<int64_t>(static_cast<int64_t>(a.up ? scaled + 0.5f : scaled), size - 1), 0};
  }
  // rounded before 0.5 is taken away, as Paddle has it: of a place far to the right that is what the share is made of
  volatile const float scaled = step * (a.half ? at + 0.5f : at);
  const float place = a.half ? fmaxf(scaled - 0.5f, 0) : scaled;
  const int64_t low = std::min<int64_t>(static_cast<int64_t>(place), size - 1);
  return {low, place - static_cast<float>(low)};
}

constexpr int kResizeCost = 20;  // operations of a result

// Results [at, at + n) of a row, by the lines of the input above and below, which begin with column `from`.
__device__ void resize_row(const Resize& a, const float* above, const float* below, float down, int64_t at, int64_t n, int64_t from,
                           float* out) {
  for (int64_t i = 0; i < n; ++i) {
    const Between c = between(a, a.step_w, at + i, a.w);
    const int64_t left = c.low - from, right = std::min<int64_t>(c.low + 1, a.w - 1) - from;
    out[i] = a.nearest ? above[left]
                       : above[left] * (1 - down) * (1 - c.share) + above[right] * (1 - down) * c.share +
                             below[left] * down * (1 - c.share) + below[right] * down * c.share;
  }
}

__global__ void resize_tiles(Resize a, Tiling t, _global_ptr_ const float* x, _global_ptr_ float* y) {
  XPU_LOCAL(float, lm, kRoom);
  auto first = [&](int64_t piece) { return piece % t.down * t.rows; };
  auto count = [&](int64_t oy) { return std::min<int64_t>(a.oh - oy, t.rows); };
  auto low = [&](int64_t oy) { return between(a, a.step_h, oy, a.h).low; };
  auto load = [&](int64_t piece, float* to) {
    const int64_t oy = first(piece), from = low(oy);
    const int64_t last = std::min<int64_t>(low(oy + count(oy) - 1) + (a.nearest ? 0 : 1), a.h - 1);
    xpu_assert((last - from + 1) * a.w <= t.size);
    GM2LM_ASYNC(x + (piece / t.down * a.h + from) * a.w, to, (last - from + 1) * a.w * sizeof(float));
  };
  each_tile(t, lm, load, [&](int64_t piece, float* now, float* out) {
    const int64_t oy = first(piece), rows = count(oy), from = low(oy), size = rows * a.ow;
    for (int64_t i = 0; i < rows; ++i) {
      const Between r = between(a, a.step_h, oy + i, a.h);
      const float *above = now + (r.low - from) * a.w, *below = now + (std::min<int64_t>(r.low + 1, a.h - 1) - from) * a.w;
      resize_row(a, above, a.nearest ? above : below, r.share, 0, a.ow, 0, out + i * a.ow);
    }
    XPU_OPS(size * kResizeCost);
    LM2GM_ASYNC(out, y + (piece / t.down * a.oh + oy) * a.ow, size * sizeof(float));
  });
}
XPU_KERNEL(resize_tiles)

constexpr int kSide = 640;  // results of a wide row at a time, and columns of the input under them

// Rows that are too wide for a core, in parts.
__global__ void resize_wide(Resize a, int most, _global_ptr_ const float* x, _global_ptr_ float* y) {
  XPU_LOCAL(float, lines, 2 * kSide);
  XPU_LOCAL(float, out, kSide);
  const int64_t across = (a.ow + most - 1) / most;
  for (int64_t piece = unit(); piece < a.planes * a.oh * across; piece += units()) {
    const int64_t row = piece / across, at = piece % across * most, n = std::min<int64_t>(a.ow - at, most);
    const Between r = between(a, a.step_h, row % a.oh, a.h);
    const int64_t from = between(a, a.step_w, at, a.w).low;
    const int64_t size = std::min<int64_t>(between(a, a.step_w, at + n - 1, a.w).low + 1, a.w - 1) - from + 1;
    const _global_ptr_ float* above = const_cast<float*>(x) + (row / a.oh * a.h + r.low) * a.w + from;
    GM2LM_ASYNC(above, lines, size * sizeof(float));
    if (!a.nearest) GM2LM_ASYNC(above + (r.low + 1 < a.h ? a.w : 0), lines + kSide, size * sizeof(float));
    mfence();
    resize_row(a, lines, a.nearest ? lines : lines + kSide, r.share, at, n, from, out);
    XPU_OPS(n * kResizeCost);
    LM2GM(out, y + row * a.ow + at, n * sizeof(float));
  }
}
XPU_KERNEL(resize_wide)

// Paddle's distance between two results: of one result alone it is 0.
float step_of(int64_t size, int64_t out, int trans_mode, float scale) {
  if (out <= 1) return 0;
  if (trans_mode == 0) return static_cast<float>(size - 1) / static_cast<float>(out - 1);
  return scale > 0 ? static_cast<float>(1.0 / scale) : static_cast<float>(size) / static_cast<float>(out);
}
}  // namespace

template <>
XPU_API int interpolate2d<float>(Context* ctx, const float* x, float* y, int64_t n, int64_t c, int64_t xh, int64_t xw, int64_t yh,
                                 int64_t yw, bool is_nearest, int trans_mode, bool is_nchw, float scale_h, float scale_w) {
  XPU_CHECK_PARAM(n >= 0 && c >= 0 && xh >= 0 && xw >= 0 && yh >= 0 && yw >= 0 && trans_mode >= 0 && trans_mode <= 2 && is_nchw);
  if (!n || !c || !yh || !yw) return SUCCESS;
  XPU_CHECK_PARAM(xh > 0 && xw > 0 && x && y);
  const Resize a{n * c, xh, xw, yh, yw, step_of(xh, yh, trans_mode, scale_h), step_of(xw, yw, trans_mode, scale_w), is_nearest,
                 trans_mode == 1, trans_mode == 0};
  // one row more than there are between the first and the last, for what floats round
  auto height = [&](int64_t rows) {
    return std::min<int64_t>(static_cast<int64_t>(static_cast<double>(rows - 1) * a.step_h) + (rows > 1 ? 3 : 2), xh);
  };
  const Tiling t = tiling(ctx, {a.planes, xw, yh, yw, 0, kResizeCost, false}, ctx->ncluster(), height);
  if (t.rows) return launched(ctx, __func__, XPU_LAUNCH(resize_tiles, t.clusters, ctx->ncore(), ctx->xpu_stream, a, t, x, y));
  const int most = static_cast<int>(std::clamp<double>((kSide - 3) / std::max<double>(a.step_w, 1e-3), 1, kSide));
  const int64_t pieces = a.planes * yh * ((yw + most - 1) / most);
  return launched(ctx, __func__, XPU_LAUNCH(resize_wide, clusters_for(ctx, pieces), ctx->ncore(), ctx->xpu_stream, a, most, x, y));
}

}  // namespace api
}  // namespace xpu
}  // namespace baidu
