// Rows by index: gather, scatter, embeddings.
#include "device.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kBytes = 4096;  // of a part of a row
constexpr int kWide = 1024;   // floats of a row of several embeddings
constexpr int kMostTables = 8;
constexpr int64_t kNoPadding = INT64_MIN;

struct Lookup {
  int64_t outer, rows, size, count, padding;  // size: bytes of a row; count: indices of each of `outer` tables
};

template <typename TI>
__device__ void look_up(const Lookup& a, const char* x, const TI* index, char* y) {
  XPU_LOCAL(char, lm, kBytes);
  XPU_LOCAL(TI, one, 1);
  const int64_t chunks = (a.size + kBytes - 1) / kBytes;
  for (int64_t piece = unit(); piece < a.outer * a.count * chunks; piece += units()) {
    const int64_t to = piece / chunks, i = to % a.count, table = to / a.count;
    const int64_t from = piece % chunks * kBytes, n = std::min<int64_t>(kBytes, a.size - from);
    GM2LM(index + i, one, sizeof(TI));
    if (one[0] == a.padding) {
      memset(lm, 0, n);
    } else {
      const int64_t row = one[0] < 0 ? one[0] + a.rows : one[0];
      xpu_assert(row >= 0 && row < a.rows);
      GM2LM(x + (table * a.rows + row) * a.size + from, lm, n);
    }
    LM2GM(lm, y + to * a.size + from, n);
  }
}
__global__ void gather_int32(Lookup a, _global_ptr_ const char* x, _global_ptr_ const int32_t* index, _global_ptr_ char* y) {
  look_up(a, x, index, y);
}
XPU_KERNEL(gather_int32)
__global__ void gather_int64(Lookup a, _global_ptr_ const char* x, _global_ptr_ const int64_t* index, _global_ptr_ char* y) {
  look_up(a, x, index, y);
}
XPU_KERNEL(gather_int64)

__global__ void scatter(_global_ptr_ const char* x, _global_ptr_ const int32_t* index, _global_ptr_ char* y, int64_t rows, int64_t size,
                        int64_t count) {
  XPU_LOCAL(char, lm, kBytes);
  XPU_LOCAL(int32_t, one, 1);
  const int64_t chunks = (size + kBytes - 1) / kBytes;
  for (int64_t piece = unit(); piece < count * chunks; piece += units()) {
    const int64_t i = piece / chunks, from = piece % chunks * kBytes, n = std::min<int64_t>(kBytes, size - from);
    GM2LM(index + i, one, sizeof(int32_t));
    xpu_assert(one[0] >= 0 && one[0] < rows);
    GM2LM(x + i * size + from, lm, n);
    LM2GM(lm, y + one[0] * size + from, n);
  }
}
XPU_KERNEL(scatter)

struct Embeddings {
  int tables, normed, slots;
  int64_t rows[kMostTables], counts[kMostTables], width, count;
  float eps;
  const float* table[kMostTables];
  const void* ids[kMostTables];
};

template <typename TI>
__device__ void embed(const Embeddings& a, float* y, const float* scale, const float* bias, float* y_max) {
  float found = 0;
  XPU_LOCAL(float, sum, kWide);
  XPU_LOCAL(float, row, kWide / 2);
  XPU_LOCAL(TI, one, 1);
  const int n = static_cast<int>(a.width);
  auto halves = [&](const float* from, auto f) {
    for (int at = 0; at < n; at += kWide / 2) {
      const int size = std::min(kWide / 2, n - at);
      GM2LM(from + at, row, size * sizeof(float));
      for (int i = 0; i < size; ++i) f(sum[at + i], row[i]);
    }
  };
  for (int64_t t = unit(); t < a.count; t += units()) {
    for (int k = 0; k < a.tables; ++k) {
      GM2LM(static_cast<const TI*>(a.ids[k]) + t % a.counts[k], one, sizeof(TI));
      const int64_t at = one[0] < 0 ? one[0] + a.rows[k] : one[0];
      xpu_assert(at >= 0 && at < a.rows[k]);
      if (k) {
        halves(a.table[k] + at * n, [](float& s, float v) { s += v; });
      } else {
        GM2LM(a.table[k] + at * n, sum, n * sizeof(float));
      }
    }
    if (a.normed) {
      float mean = 0, var = 0;
      for (int i = 0; i < n; ++i) mean += sum[i];
      mean /= n;
      for (int i = 0; i < n; ++i) var += (sum[i] - mean) * (sum[i] - mean);
      const float factor = 1 / sqrtf(var / n + a.eps);
      for (int i = 0; i < n; ++i) sum[i] = (sum[i] - mean) * factor;
      if (scale) halves(scale, [](float& s, float v) { s *= v; });
      if (bias) halves(bias, [](float& s, float v) { s += v; });
    }
    XPU_OPS(n * (a.tables + (a.normed ? 8 : 0)));
    if (y_max) found = larger_of(sum, n, found);
    LM2GM(sum, y + t * n, n * sizeof(float));
  }
  if (y_max) store_cluster_max(y_max, a.slots, found, row);
}
__global__ void embed_int32(Embeddings a, _global_ptr_ float* y, _global_ptr_ const float* scale, _global_ptr_ const float* bias,
                            _global_ptr_ float* y_max) {
  embed<int32_t>(a, y, scale, bias, y_max);
}
XPU_KERNEL(embed_int32)
__global__ void embed_int64(Embeddings a, _global_ptr_ float* y, _global_ptr_ const float* scale, _global_ptr_ const float* bias,
                            _global_ptr_ float* y_max) {
  embed<int64_t>(a, y, scale, bias, y_max);
}
XPU_KERNEL(embed_int64)

template <typename TI>
int looked_up(Context* ctx, const char* name, const Lookup& a, const void* x, const TI* index, void* y) {
  if (a.outer < 0 || a.rows < 0 || a.size < 0 || a.count < 0) return ctx->set_error(INVALID_PARAM, std::string(name) + ": a size");
  if (!a.outer || !a.size || !a.count) return SUCCESS;
  if (!x || !index || !y) return ctx->set_error(INVALID_PARAM, std::string(name) + ": no data");
  const int clusters = clusters_for(ctx, a.outer * a.count * ((a.size + kBytes - 1) / kBytes));
  const char* from = static_cast<const char*>(x);
  char* to = static_cast<char*>(y);
  if constexpr (sizeof(TI) == 4) {
    return launched(ctx, name, XPU_LAUNCH(gather_int32, clusters, ctx->ncore(), ctx->xpu_stream, a, from, index, to));
  } else {
    return launched(ctx, name, XPU_LAUNCH(gather_int64, clusters, ctx->ncore(), ctx->xpu_stream, a, from, index, to));
  }
}
}  // namespace

#define XPU_DEFINE_LOOKUPS(T, TI)                                                                                                     \
  template <>                                                                                                                         \
  XPU_API int gather<T, TI>(Context * ctx, const T* x, const TI* index, T* y, const std::vector<int64_t>& xshape, int64_t count,      \
                            int axis) {                                                                                               \
    const int rank = static_cast<int>(xshape.size());                                                                                 \
    if (axis < 0) axis += rank;                                                                                                       \
    XPU_CHECK_PARAM(axis >= 0 && axis < rank && is_shape(xshape));                                                                    \
    const Around a(xshape, axis, axis);                                                                                               \
    const Lookup l{a.outer, a.length, a.inner * static_cast<int64_t>(sizeof(T)), count, kNoPadding};                                  \
    return looked_up(ctx, __func__, l, x, index, y);                                                                                  \
  }                                                                                                                                   \
  template <>                                                                                                                         \
  XPU_API int embedding<T, TI>(Context * ctx, const T* table, const TI* ids, T* y, int64_t rows, int64_t width, int64_t count,        \
                               int64_t padding) {                                                                                     \
    const Lookup l{1, rows, width * static_cast<int64_t>(sizeof(T)), count, padding};                                                 \
    return looked_up(ctx, __func__, l, table, ids, y);                                                                                \
  }
#define XPU_DEFINE_LOOKUP(T)     \
  XPU_DEFINE_LOOKUPS(T, int32_t) \
  XPU_DEFINE_LOOKUPS(T, int64_t)
XPU_DEFINE_LOOKUP(int8_t)
XPU_DEFINE_LOOKUP(int16_t)
XPU_DEFINE_LOOKUP(int32_t)
XPU_DEFINE_LOOKUP(int64_t)
XPU_DEFINE_LOOKUP(float)

template <>
XPU_API int scatter_rows<float>(Context* ctx, const float* x, const int32_t* index, float* y, int64_t rows, int64_t width, int64_t count) {
  XPU_CHECK_PARAM(rows >= 0 && width >= 0 && count >= 0);
  if (!count || !width) return SUCCESS;
  XPU_CHECK_PARAM(x && index && y);
  const int64_t size = width * static_cast<int64_t>(sizeof(float));
  const int clusters = clusters_for(ctx, count * ((size + kBytes - 1) / kBytes));
  return launched(ctx, __func__,
                  XPU_LAUNCH(scatter, clusters, ctx->ncore(), ctx->xpu_stream, reinterpret_cast<const char*>(x), index,
                             reinterpret_cast<char*>(y), rows, size, count));
}

template <typename TI>
int embedded(Context* ctx, const std::vector<const float*>& tables, const std::vector<const TI*>& ids, float* y,
             const std::vector<int64_t>& rows, const std::vector<int64_t>& counts, int64_t width, int64_t count, float eps,
             const float* scale, const float* bias, float* y_max) {
  auto wrong = [&](const char* why) { return ctx->set_error(INVALID_PARAM, std::string("multi_embedding_fusion: ") + why); };
  const size_t many = tables.size();
  if (!many || many > kMostTables || ids.size() != many || rows.size() != many || counts.size() != many) return wrong("the tables");
  if (width < 0 || width > kWide || count < 0) return wrong("a size");
  if (!width || !count) return SUCCESS;
  Embeddings a{static_cast<int>(many), scale || bias, ctx->max_ptr_size(), {}, {}, width, count, eps, {}, {}};
  for (size_t k = 0; k < many; ++k) {
    if (!tables[k] || !ids[k] || counts[k] < 1 || count % counts[k]) return wrong("no data, or the number of ids");
    a.table[k] = tables[k], a.ids[k] = ids[k], a.rows[k] = rows[k], a.counts[k] = counts[k];
  }
  if (!y) return wrong("no data");
  const int wanted = clusters_for(ctx, count), clusters = y_max ? std::min(wanted, a.slots) : wanted;
  if constexpr (sizeof(TI) == 4) {
    return launched(ctx, "multi_embedding_fusion",
                    XPU_LAUNCH(embed_int32, clusters, ctx->ncore(), ctx->xpu_stream, a, y, scale, bias, y_max));
  } else {
    return launched(ctx, "multi_embedding_fusion",
                    XPU_LAUNCH(embed_int64, clusters, ctx->ncore(), ctx->xpu_stream, a, y, scale, bias, y_max));
  }
}
#define XPU_DEFINE_EMBEDDINGS(TI)                                                                                                          \
  template <>                                                                                                                              \
  XPU_API int multi_embedding_fusion<float, TI>(Context * ctx, const std::vector<const float*>& tables, const std::vector<const TI*>& ids, \
                                                float* y, const std::vector<int64_t>& rows, const std::vector<int64_t>& counts,            \
                                                int64_t width, int64_t count, float eps, const float* scale, const float* bias,            \
                                                float* y_max) {                                                                            \
    return embedded<TI>(ctx, tables, ids, y, rows, counts, width, count, eps, scale, bias, y_max);                                         \
  }
XPU_DEFINE_EMBEDDINGS(int32_t)
XPU_DEFINE_EMBEDDINGS(int64_t)

}  // namespace api
}  // namespace xpu
}  // namespace baidu
