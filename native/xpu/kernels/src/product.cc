// Matrix products on the matrix units: tiles of the result, each summed over chunks of k.
#include "numbers.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kM = 64, kN = 256, kK = 256;

struct Fc {
  int64_t batch, m, n, k, ldx, ldw, ldy, stride_x, stride_w, stride_y;
  int xtrans, wtrans, tile_n, max_ptr, act, w_columns;  // w_columns: w_max has the largest number of each column
  float alpha, beta, act_alpha;
};

// The tile [rows, columns] of a matrix, whose rows lie ld elements apart (columns, where it is transposed), as elements of G.
template <typename G, typename T>
__device__ void load_tile(typename Number<G>::Element* tile, _global_ptr_ const T* from, int64_t rows, int64_t columns, int64_t ld,
                          bool transposed, Scale<G> factor, T* stage) {
  using Element = typename Number<G>::Element;
  if constexpr (std::is_same<Element, T>::value && Number<G>::kType != SDNN_FLOAT16) {
    if (!transposed) {
      SDNN_LOAD(tile, from, rows, columns * sizeof(T), ld * sizeof(T), columns * sizeof(T));
      return;
    }
  }
  const int64_t outer = transposed ? columns : rows, inner = transposed ? rows : columns;
  SDNN_LOAD(stage, from, outer, inner * sizeof(T), ld * sizeof(T), inner * sizeof(T));
  auto element = [&](T v) -> Element {
    if constexpr (std::is_same<T, float>::value) return rounded<G>(v, factor);
    if constexpr (std::is_same<T, float16>::value) return to_float(v);
    if constexpr (!std::is_same<T, float16>::value) return static_cast<Element>(v);
  };
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) tile[i * columns + j] = element(transposed ? stage[j * inner + i] : stage[i * inner + j]);
}

template <typename TW, typename G>
__device__ void fc_unit(const Fc& a, const float* x, const TW* w, float* y, const float* bias, const float* x_max, const float* w_max,
                        float* y_max) {
  using Element = typename Number<G>::Element;
  using Sum = typename Number<G>::Sum;
  SDNN_BUFFER(Element, left, kM * kK);
  SDNN_BUFFER(Element, right, kK * kN);
  SDNN_BUFFER(Sum, sums, kM * kN);
  SDNN_BUFFER(float, x_stage, kM* kK);
  SDNN_BUFFER(TW, w_stage, kK * kN);
  SDNN_BUFFER(float, out, kM* kN);
  SDNN_BUFFER(float, row, kN);
  Scale<G> x_factor = 1, unscale = a.alpha;
  float found = 0;
  if constexpr (Number<G>::kScaled) {
    const float of_x = largest(x_max, a.max_ptr, row), of_w = a.w_columns ? 1 : largest(w_max, a.max_ptr, row);
    x_factor = factor_of<G>(of_x);
    unscale *= of_x / Number<G>::kMax * (of_w / Number<G>::kMax);
  }
  const int64_t rows = (a.m + kM - 1) / kM, columns = (a.n + a.tile_n - 1) / a.tile_n;
  for (int64_t task = sdnn_id(); task < a.batch * rows * columns; task += sdnn_num()) {
    const int64_t b = task / (rows * columns), m0 = task / columns % rows * kM, n0 = task % columns * a.tile_n;
    const int64_t m = std::min<int64_t>(kM, a.m - m0), n = std::min<int64_t>(a.tile_n, a.n - n0);
    memset(sums, 0, m * n * sizeof(Sum));
    for (int64_t k0 = 0; k0 < a.k; k0 += kK) {
      const int64_t k = std::min<int64_t>(kK, a.k - k0);
      const float* x_at = x + b * a.stride_x + (a.xtrans ? k0 * a.ldx + m0 : m0 * a.ldx + k0);
      const TW* w_at = w + b * a.stride_w + (a.wtrans ? n0 * a.ldw + k0 : k0 * a.ldw + n0);
      load_tile<G>(left, x_at, m, k, a.ldx, a.xtrans, x_factor, x_stage);
      load_tile<G>(right, w_at, k, n, a.ldw, a.wtrans, 1, w_stage);
      multiply<G>(left, right, sums, m, n, k, k, n, n);
    }
    float* y_at = y + b * a.stride_y + m0 * a.ldy + n0;
    if (a.beta != 0) SDNN_LOAD(out, y_at, m, n * sizeof(float), a.ldy * sizeof(float), n * sizeof(float));
    if (a.w_columns) SDNN_LOAD(row, w_max + n0, 1, n * sizeof(float), 0, n * sizeof(float));
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const float v = worth<G>(sums[i * n + j], a.w_columns ? unscale * row[j] : unscale);
        out[i * n + j] = a.beta != 0 ? v + a.beta * out[i * n + j] : v;
      }
    }
    if (bias) {
      SDNN_LOAD(row, bias + n0, 1, n * sizeof(float), 0, n * sizeof(float));
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) out[i * n + j] += row[j];
    }
    activate(static_cast<Activation_t::act_enum>(a.act), a.act_alpha, out, m * n);
    if (y_max) found = largest_of(out, m * n, found);
    SDNN_STORE(out, y_at, m, n * sizeof(float), a.ldy * sizeof(float), n * sizeof(float));
  }
  if (y_max) store_max(y_max, a.max_ptr, found, row);
}

#define XPU_FC(name, TW, G)                                                                                                                \
  __global__ void name(Fc a, _global_ptr_ const float* x, _global_ptr_ const TW* w, _global_ptr_ float* y, _global_ptr_ const float* bias, \
                       _global_ptr_ const float* x_max, _global_ptr_ const float* w_max, _global_ptr_ float* y_max) {                      \
    fc_unit<TW, G>(a, x, w, y, bias, x_max, w_max, y_max);                                                                                 \
  }                                                                                                                                        \
  XPU_SDNN_KERNEL(name)
XPU_FC(fc_float, float, float)
XPU_FC(fc_float16, float16, float16)
XPU_FC(fc_int16, int16_t, int16_t)
XPU_FC(fc_int8, int8_t, int8_t)
XPU_FC(fc_int31, int32_t, int32_t)

template <typename TW>
int run(Context* ctx, const char* name, Fc a, const float* x, const TW* w, float* y, const float* bias, const float* x_max,
        const float* w_max, float* y_max) {
  auto wrong = [&](const char* why) { return ctx->set_error(INVALID_PARAM, std::string(name) + ": " + why); };
  if (a.batch < 0 || a.m < 0 || a.n < 0 || a.k < 0) return wrong("a size is negative");
  if (a.ldx < (a.xtrans ? a.m : a.k) || a.ldw < (a.wtrans ? a.k : a.n) || a.ldy < a.n) return wrong("a leading dim is smaller than a row");
  if (!a.batch || !a.m || !a.n) return SUCCESS;
  if (!x || !w || !y) return wrong("no data");
  a.max_ptr = ctx->max_ptr_size();
  if (a.max_ptr > kMaxPtr) return wrong("the device's max pointers have too many floats");
  if constexpr (Number<TW>::kScaled) {
    if (!w_max) return wrong("integer weights need w_max");
    const int64_t last = (a.xtrans ? a.k : a.m) - 1;
    x_max = max_of(ctx, x, x_max, (a.batch - 1) * a.stride_x + last * a.ldx + (a.xtrans ? a.m : a.k));
    if (!x_max) return RUNTIME_ERROR;
  }
  // narrower tiles where there would be fewer of them than units
  const int64_t rows = a.batch * ((a.m + kM - 1) / kM), wanted = (ctx->nsdnn() + rows - 1) / rows;
  a.tile_n = static_cast<int>(std::clamp<int64_t>(((a.n + wanted - 1) / wanted + 31) / 32 * 32, 32, kN));
  int status;
  if constexpr (std::is_same<TW, float>::value) {
    status = XPU_LAUNCH(fc_float, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, w, y, bias, x_max, w_max, y_max);
  } else if constexpr (std::is_same<TW, float16>::value) {
    status = XPU_LAUNCH(fc_float16, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, w, y, bias, x_max, w_max, y_max);
  } else if constexpr (std::is_same<TW, int16_t>::value) {
    status = XPU_LAUNCH(fc_int16, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, w, y, bias, x_max, w_max, y_max);
  } else if constexpr (std::is_same<TW, int32_t>::value) {
    status = XPU_LAUNCH(fc_int31, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, w, y, bias, x_max, w_max, y_max);
  } else {
    status = XPU_LAUNCH(fc_int8, ctx->nsdnn(), 1, ctx->xpu_stream, a, x, w, y, bias, x_max, w_max, y_max);
  }
  return launched(ctx, name, status);
}
}  // namespace

#define XPU_DEFINE_FC(TW)                                                                                                                  \
  template <>                                                                                                                              \
  XPU_API int fc_fusion<float, TW, float, TW>(Context * ctx, const float* x, const TW* w, float* y, int64_t m, int64_t n, int64_t k,       \
                                              bool xtrans, bool wtrans, const float* x_max, const float* w_max, float* y_max, int64_t ldx, \
                                              int64_t ldw, int64_t ldy, float alpha, float beta, const float* bias,                        \
                                              const Activation_t& act, const float* w_columns) {                                           \
    const Fc a{1, m, n, k, ldx, ldw, ldy, 0, 0, 0, xtrans, wtrans, 0, 0, act.type, w_columns != nullptr, alpha, beta, act.alpha};          \
    return run<TW>(ctx, "fc_fusion", a, x, w, y, bias, x_max, w_columns ? w_columns : w_max, y_max);                                       \
  }                                                                                                                                        \
  template <>                                                                                                                              \
  XPU_API int fc_batched<float, TW, float, TW>(Context * ctx, int64_t batch, bool xtrans, bool wtrans, int64_t m, int64_t n, int64_t k,    \
                                               float alpha, const float* x, int64_t stride_x, const TW* w, int64_t stride_w, float beta,   \
                                               float* y, int64_t stride_y, const float* x_max, const float* w_max) {                       \
    const Fc a{batch,    m,        n,      k,      xtrans ? m : k, wtrans ? k : n, n, stride_x, stride_w,                                  \
               stride_y, xtrans,   wtrans, 0,      0,              0,              0, alpha,    beta,     0};                              \
    return run<TW>(ctx, "fc_batched", a, x, w, y, nullptr, x_max, w_max, nullptr);                                                         \
  }
XPU_DEFINE_FC(float)
XPU_DEFINE_FC(float16)
XPU_DEFINE_FC(int16_t)
XPU_DEFINE_FC(int8_t)
XPU_DEFINE_FC(int32_t)

}  // namespace api
}  // namespace xpu
}  // namespace baidu
