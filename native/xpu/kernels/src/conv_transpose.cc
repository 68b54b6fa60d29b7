// Transposed convolutions on the matrix units: results whose taps are the same ones (a phase of the strides) are one product each.
#include "numbers.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kF = 128, kP = 256, kK = 256;  // filters, pixels of a phase, and channels of a tile

struct Transposed {
  int64_t n, c, h, w, f, oh, ow, groups;
  int kh, kw, sh, sw, top, left, dh, dw, tile_f, act;
  float act_alpha;
};

// Calls part(place in the tile, row, column, size) for the parts of pixels [p0, p0 + p) that lie in one row of `columns`.
template <typename F>
__device__ void in_rows(int64_t p0, int64_t p, int64_t columns, F part) {
  for (int64_t at = p0; at < p0 + p;) {
    const int64_t n = std::min(columns - at % columns, p0 + p - at);
    part(at - p0, at / columns, at % columns, n);
    at += n;
  }
}

__global__ void conv_transposed(Transposed a, _global_ptr_ const float* x, _global_ptr_ const float* filter, _global_ptr_ float* y,
                                _global_ptr_ const float* bias) {
  SDNN_BUFFER(float, filters, kF* kK);
  SDNN_BUFFER(float, pixels, kK* kP);
  SDNN_BUFFER(float, sums, kF* kP);
  SDNN_BUFFER(float, biases, kF);
  const int64_t channels = a.c / a.groups, of_group = a.f / a.groups, f_tiles = (of_group + a.tile_f - 1) / a.tile_f;
  const int64_t most_rows = (a.oh + a.sh - 1) / a.sh, most_columns = (a.ow + a.sw - 1) / a.sw;
  const int64_t p_tiles = (most_rows * most_columns + kP - 1) / kP, phases = static_cast<int64_t>(a.sh) * a.sw;
  for (int64_t task = sdnn_id(); task < a.n * a.groups * f_tiles * phases * p_tiles; task += sdnn_num()) {
    const int64_t phase = task / p_tiles % phases, py = phase / a.sw, px = phase % a.sw;
    const int64_t rows = (a.oh - py + a.sh - 1) / a.sh, columns = (a.ow - px + a.sw - 1) / a.sw, p0 = task % p_tiles * kP;
    if (rows <= 0 || columns <= 0 || p0 >= rows * columns) continue;
    const int64_t f0 = task / (p_tiles * phases) % f_tiles * a.tile_f, group = task / (p_tiles * phases * f_tiles) % a.groups;
    const int64_t image = task / (p_tiles * phases * f_tiles * a.groups), first = group * of_group + f0;
    const int64_t p = std::min<int64_t>(kP, rows * columns - p0), f = std::min<int64_t>(a.tile_f, of_group - f0);
    memset(sums, 0, f * p * sizeof(float));
    for (int ky = 0; ky < a.kh; ++ky) {
      for (int kx = 0; kx < a.kw; ++kx) {
        const int64_t over_y = py + a.top - static_cast<int64_t>(ky) * a.dh, over_x = px + a.left - static_cast<int64_t>(kx) * a.dw;
        if (over_y % a.sh || over_x % a.sw) continue;
        const int64_t dy = over_y / a.sh, dx = over_x / a.sw;
        for (int64_t c0 = 0; c0 < channels; c0 += kK) {
          const int64_t k = std::min<int64_t>(kK, channels - c0), taps = static_cast<int64_t>(a.kh) * a.kw;
          SDNN_LOAD(filters, filter + ((first * a.kh + ky) * a.kw + kx) * channels + c0, f, k * sizeof(float),
                    taps * channels * sizeof(float), k * sizeof(float));
          memset(pixels, 0, k * p * sizeof(float));
          in_rows(p0, p, columns, [&](int64_t at, int64_t row, int64_t column, int64_t n) {
            const int64_t iy = row + dy, lo = std::clamp<int64_t>(-(column + dx), 0, n), hi = std::clamp<int64_t>(a.w - column - dx, lo, n);
            if (iy < 0 || iy >= a.h || lo == hi) return;
            const float* from = x + ((image * a.c + group * channels + c0) * a.h + iy) * a.w + column + dx + lo;
            SDNN_LOAD(pixels + at + lo, from, k, (hi - lo) * sizeof(float), a.h * a.w * sizeof(float), p * sizeof(float));
          });
          SDNN_PRODUCT(filters, pixels, sums, f, p, k, k, p, p);
        }
      }
    }
    if (bias) SDNN_LOAD(biases, bias + first, 1, f * sizeof(float), 0, f * sizeof(float));
    for (int64_t i = 0; bias && i < f; ++i)
      for (int64_t j = i * p; j < (i + 1) * p; ++j) sums[j] += biases[i];
    activate(static_cast<Activation_t::act_enum>(a.act), a.act_alpha, sums, f * p);
    for (int64_t i = 0; i < f; ++i) {
      float* plane = y + (image * a.f + first + i) * a.oh * a.ow;
      in_rows(p0, p, columns, [&](int64_t at, int64_t row, int64_t column, int64_t n) {
        float* to = plane + (row * a.sh + py) * a.ow + column * a.sw + px;
        if (a.sw == 1) {
          SDNN_STORE(sums + i * p + at, to, 1, n * sizeof(float), 0, n * sizeof(float));
        } else {
          SDNN_STORE(sums + i * p + at, to, n, sizeof(float), a.sw * sizeof(float), sizeof(float));
        }
      });
    }
  }
}
XPU_SDNN_KERNEL(conv_transposed)
}  // namespace

template <>
XPU_API int conv2d_transpose_fusion<float>(Context* ctx, const float* x, const float* filter, float* y, int64_t n, int64_t c, int64_t h,
                                           int64_t w, int64_t f, int64_t oh, int64_t ow, const std::vector<int>& ksize,
                                           const std::vector<int>& strides, const std::vector<int>& paddings,
                                           const std::vector<int>& dilations, int64_t groups, const float* bias, const Activation_t& act) {
  XPU_CHECK_PARAM(ksize.size() == 2 && strides.size() == 2 && paddings.size() == 4 && dilations.size() == 2);
  XPU_CHECK_PARAM(n >= 0 && c > 0 && h > 0 && w > 0 && f > 0 && groups > 0 && c % groups == 0 && f % groups == 0);
  XPU_CHECK_PARAM(ksize[0] > 0 && ksize[1] > 0 && strides[0] > 0 && strides[1] > 0 && dilations[0] > 0 && dilations[1] > 0);
  if (!n || oh <= 0 || ow <= 0) return SUCCESS;
  XPU_CHECK_PARAM(x && filter && y);
  const int64_t phases = static_cast<int64_t>(strides[0]) * strides[1], of_group = f / groups;
  const int64_t pixels = ((oh + strides[0] - 1) / strides[0]) * ((ow + strides[1] - 1) / strides[1]);
  const int64_t tasks = n * groups * phases * ((pixels + kP - 1) / kP), wanted = (ctx->nsdnn() + tasks - 1) / tasks;
  const int tile = static_cast<int>(std::clamp<int64_t>(((of_group + wanted - 1) / wanted + 7) / 8 * 8, 8, kF));
  const Transposed a{n,          c,          h,           w,           f,            oh,           ow,   groups,   ksize[0], ksize[1],
                     strides[0], strides[1], paddings[0], paddings[2], dilations[0], dilations[1], tile, act.type, act.alpha};
  return launched(ctx, __func__, XPU_LAUNCH(conv_transposed, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, filter, y, bias));
}

}  // namespace api
}  // namespace xpu
}  // namespace baidu
