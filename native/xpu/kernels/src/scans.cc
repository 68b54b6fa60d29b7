// Along an axis, where order matters: places of extremes, running sums.
#include "device.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kRow = 512, kColumns = 128;

// Calls f(value of place i, column) along an axis for `size` columns at a time: rows lie in columns where inner > 1.
template <typename T, typename F, typename End>
__device__ void along(const T* x, int64_t outer, int64_t n, int64_t inner, T* lm, F f, End end) {
  const int64_t chunks = (inner + kColumns - 1) / kColumns;
  for (int64_t piece = unit(); piece < outer * chunks; piece += units()) {
    const int64_t o = piece / chunks, from = piece % chunks * kColumns;
    const int size = static_cast<int>(std::min<int64_t>(kColumns, inner - from));
    if (inner == 1) {
      for (int64_t at = 0; at < n; at += kRow) {
        const int part = static_cast<int>(std::min<int64_t>(kRow, n - at));
        GM2LM(x + o * n + at, lm, part * sizeof(T));
        for (int i = 0; i < part; ++i) f(at + i, 0, lm + i);
        end(o * n + at, part, at + part == n, o);
      }
    } else {
      for (int64_t i = 0; i < n; ++i) {
        const int64_t place = (o * n + i) * inner + from;
        GM2LM(x + place, lm, size * sizeof(T));
        for (int j = 0; j < size; ++j) f(i, j, lm + j);
        end(place, size, i + 1 == n, o * inner + from);
      }
    }
    XPU_OPS(n * size * 2);
  }
}

template <typename TI>
__device__ void extremes(const float* x, TI* y, int64_t outer, int64_t n, int64_t inner, int smallest) {
  XPU_LOCAL(float, lm, kRow);
  XPU_LOCAL(float, best, kColumns);
  XPU_LOCAL(TI, where, kColumns);
  const float worst = smallest ? INFINITY : -INFINITY;
  along(
      x, outer, n, inner, lm,
      [&](int64_t i, int j, const float* v) {
        if (i == 0) best[j] = worst, where[j] = -1;
        // also a first number that is infinite; a NaN never is
        if ((smallest ? *v < best[j] : *v > best[j]) || (where[j] < 0 && *v == worst)) best[j] = *v, where[j] = static_cast<TI>(i);
      },
      [&](int64_t, int size, bool last, int64_t to) {
        if (!last) return;
        const int many = inner == 1 ? 1 : size;
        for (int j = 0; j < many; ++j) where[j] = where[j] < 0 ? 0 : where[j];
        LM2GM(where, y + to, many * sizeof(TI));
      });
}
__global__ void argmax_int32(_global_ptr_ const float* x, _global_ptr_ int32_t* y, int64_t outer, int64_t n, int64_t inner, int smallest) {
  extremes(x, y, outer, n, inner, smallest);
}
XPU_KERNEL(argmax_int32)
__global__ void argmax_int64(_global_ptr_ const float* x, _global_ptr_ int64_t* y, int64_t outer, int64_t n, int64_t inner, int smallest) {
  extremes(x, y, outer, n, inner, smallest);
}
XPU_KERNEL(argmax_int64)

template <typename T>
__device__ void running(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, int exclusive) {
  XPU_LOCAL(T, lm, kRow);
  XPU_LOCAL(T, sum, kColumns);
  along(
      x, outer, n, inner, lm,
      [&](int64_t i, int j, T* v) {
        const T before = i ? sum[j] : T(0);
        sum[j] = before + *v;
        *v = exclusive ? before : sum[j];
      },
      [&](int64_t at, int size, bool, int64_t) { LM2GM(lm, y + at, size * sizeof(T)); });
}
#define XPU_CUMSUM(name, T)                                                                                                                \
  __global__ void name(_global_ptr_ const T* x, _global_ptr_ T* y, int64_t outer, int64_t n, int64_t inner, int exclusive) {              \
    running(x, y, outer, n, inner, exclusive);                                                                                            \
  }                                                                                                                                        \
  XPU_KERNEL(name)
XPU_CUMSUM(cumsum_float, float)
XPU_CUMSUM(cumsum_int32, int32_t)
XPU_CUMSUM(cumsum_int64, int64_t)

int pieces(const Context* ctx, const Around& a) { return clusters_for(ctx, a.outer * ((a.inner + kColumns - 1) / kColumns)); }
}  // namespace

#define XPU_DEFINE_ARGMAX(TI, kernel)                                                                                                      \
  template <>                                                                                                                              \
  XPU_API int argmax<float, TI>(Context * ctx, const float* x, TI* y, const std::vector<int64_t>& xshape, int axis, bool smallest) {       \
    const int rank = static_cast<int>(xshape.size());                                                                                      \
    if (axis < 0) axis += rank;                                                                                                            \
    XPU_CHECK_PARAM(axis >= 0 && axis < rank && is_shape(xshape));                                                                         \
    const Around a(xshape, axis, axis);                                                                                                    \
    if (!a.outer || !a.inner) return SUCCESS;                                                                                              \
    XPU_CHECK_PARAM(a.length > 0 && x && y);                                                                                               \
    return launched(ctx, __func__,                                                                                                         \
                    XPU_LAUNCH(kernel, pieces(ctx, a), ctx->ncore(), ctx->xpu_stream, x, y, a.outer, a.length, a.inner,                    \
                               static_cast<int>(smallest)));                                                                               \
  }
XPU_DEFINE_ARGMAX(int32_t, argmax_int32)
XPU_DEFINE_ARGMAX(int64_t, argmax_int64)

#define XPU_DEFINE_CUMSUM(T, kernel)                                                                                                       \
  template <>                                                                                                                              \
  XPU_API int cumsum<T>(Context * ctx, const T* x, T* y, const std::vector<int64_t>& xshape, int axis, bool exclusive) {                   \
    const int rank = static_cast<int>(xshape.size());                                                                                      \
    if (axis < 0) axis += rank;                                                                                                            \
    XPU_CHECK_PARAM(axis >= 0 && axis < rank && is_shape(xshape));                                                                         \
    const Around a(xshape, axis, axis);                                                                                                    \
    if (!a.outer || !a.inner || !a.length) return SUCCESS;                                                                                 \
    XPU_CHECK_PARAM(x && y);                                                                                                               \
    return launched(ctx, __func__,                                                                                                         \
                    XPU_LAUNCH(kernel, pieces(ctx, a), ctx->ncore(), ctx->xpu_stream, x, y, a.outer, a.length, a.inner,                    \
                               static_cast<int>(exclusive)));                                                                              \
  }
XPU_DEFINE_CUMSUM(float, cumsum_float)
XPU_DEFINE_CUMSUM(int32_t, cumsum_int32)
XPU_DEFINE_CUMSUM(int64_t, cumsum_int64)

}  // namespace api
}  // namespace xpu
}  // namespace baidu
