// Functions of rows: softmax, layer_norm, reductions.  A row that fits local memory is read once, a longer one once a pass.
#include "device.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kRow = 1024;     // floats of a row, or of a part of one
constexpr int kColumns = 256;  // neighbouring rows that lie in columns

enum Reduction { SUM, MEAN, MAX, MIN };

__device__ float first_of(int kind) { return kind == MAX ? -INFINITY : kind == MIN ? INFINITY : 0; }
__device__ float join(int kind, float a, float b) {
  // a NaN stays, whichever comes first
  if (kind == MAX) return a > b || a != a ? a : b;
  if (kind == MIN) return a < b || a != a ? a : b;
  return a + b;
}

// In 16 partial results, as a vector of the chip has: sums of long rows stay exact.
__device__ float reduce_part(int kind, const float* v, int n) {
  float parts[16];
  for (int j = 0; j < 16; ++j) parts[j] = first_of(kind);
  int i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; ++j) parts[j] = join(kind, parts[j], v[i + j]);
  for (; i < n; ++i) parts[i % 16] = join(kind, parts[i % 16], v[i]);
  for (int half = 8; half; half /= 2)
    for (int j = 0; j < half; ++j) parts[j] = join(kind, parts[j], parts[j + half]);
  return parts[0];
}

// Calls f(part, size, offset) for the parts of a row, each loaded into `lm` but for a short row's, which is there already.
template <typename F>
__device__ void for_parts(const float* row, float* lm, int64_t n, bool loaded, F f) {
  for (int64_t at = 0; at < n; at += kRow) {
    const int size = static_cast<int>(n - at < kRow ? n - at : kRow);
    if (!(loaded && n <= kRow)) GM2LM(row + at, lm, size * sizeof(float));
    f(lm, size, at);
  }
}

__global__ void softmax_rows(_global_ptr_ const float* x, _global_ptr_ float* y, int64_t rows, int64_t n) {
  XPU_LOCAL(float, lm, kRow);
  for (int64_t r = unit(); r < rows; r += units()) {
    float max = -INFINITY, sum = 0;
    for_parts(x + r * n, lm, n, false, [&](float* v, int size, int64_t) { max = join(MAX, max, reduce_part(MAX, v, size)); });
    for_parts(x + r * n, lm, n, true, [&](float* v, int size, int64_t) {
      for (int i = 0; i < size; ++i) v[i] = expf(v[i] - max);
      sum += reduce_part(SUM, v, size);
    });
    if (n <= kRow) {
      for (int64_t i = 0; i < n; ++i) lm[i] /= sum;
      LM2GM(lm, y + r * n, n * sizeof(float));
    } else {
      for_parts(x + r * n, lm, n, true, [&](float* v, int size, int64_t at) {
        for (int i = 0; i < size; ++i) v[i] = expf(v[i] - max) / sum;
        LM2GM(v, y + r * n + at, size * sizeof(float));
      });
    }
    XPU_OPS(n * (n <= kRow ? 11 : 19));
  }
}
XPU_KERNEL(softmax_rows)

__global__ void softmax_columns(_global_ptr_ const float* x, _global_ptr_ float* y, int64_t outer, int64_t n, int64_t inner) {
  XPU_LOCAL(float, v, kColumns);
  XPU_LOCAL(float, max, kColumns);
  XPU_LOCAL(float, sum, kColumns);
  const int64_t chunks = (inner + kColumns - 1) / kColumns;
  for (int64_t piece = unit(); piece < outer * chunks; piece += units()) {
    const int64_t at = piece / chunks * n * inner + piece % chunks * kColumns, left = inner - piece % chunks * kColumns;
    const int size = static_cast<int>(left < kColumns ? left : kColumns);
    for (int j = 0; j < size; ++j) max[j] = -INFINITY, sum[j] = 0;
    for (int64_t i = 0; i < n; ++i) {
      GM2LM(x + at + i * inner, v, size * sizeof(float));
      for (int j = 0; j < size; ++j) max[j] = join(MAX, max[j], v[j]);
    }
    for (int64_t i = 0; i < n; ++i) {
      GM2LM(x + at + i * inner, v, size * sizeof(float));
      for (int j = 0; j < size; ++j) sum[j] += expf(v[j] - max[j]);
    }
    for (int64_t i = 0; i < n; ++i) {
      GM2LM(x + at + i * inner, v, size * sizeof(float));
      for (int j = 0; j < size; ++j) v[j] = expf(v[j] - max[j]) / sum[j];
      LM2GM(v, y + at + i * inner, size * sizeof(float));
    }
    XPU_OPS(n * size * 19);
  }
}
XPU_KERNEL(softmax_columns)

__global__ void reduce_rows(int kind, _global_ptr_ const float* x, _global_ptr_ float* y, int64_t rows, int64_t n) {
  XPU_LOCAL(float, lm, kRow);
  for (int64_t r = unit(); r < rows; r += units()) {
    float result = first_of(kind);
    for_parts(x + r * n, lm, n, false, [&](float* v, int size, int64_t) { result = join(kind, result, reduce_part(kind, v, size)); });
    lm[0] = kind == MEAN ? result / n : result;
    LM2GM(lm, y + r, sizeof(float));
    XPU_OPS(n);
  }
}
XPU_KERNEL(reduce_rows)

__global__ void reduce_columns(int kind, _global_ptr_ const float* x, _global_ptr_ float* y, int64_t outer, int64_t n, int64_t inner) {
  XPU_LOCAL(float, v, kColumns);
  XPU_LOCAL(float, result, kColumns);
  const int64_t chunks = (inner + kColumns - 1) / kColumns;
  for (int64_t piece = unit(); piece < outer * chunks; piece += units()) {
    const int64_t o = piece / chunks, from = piece % chunks * kColumns;
    const int size = static_cast<int>(inner - from < kColumns ? inner - from : kColumns);
    for (int j = 0; j < size; ++j) result[j] = first_of(kind);
    for (int64_t i = 0; i < n; ++i) {
      GM2LM(x + (o * n + i) * inner + from, v, size * sizeof(float));
      for (int j = 0; j < size; ++j) result[j] = join(kind, result[j], v[j]);
    }
    if (kind == MEAN)
      for (int j = 0; j < size; ++j) result[j] /= n;
    LM2GM(result, y + o * inner + from, size * sizeof(float));
    XPU_OPS(n * size);
  }
}
XPU_KERNEL(reduce_columns)

int reduce(Context* ctx, const char* name, int kind, const float* x, float* y, const std::vector<int64_t>& xshape,
           const std::vector<int>& rdims) {
  auto wrong = [&](const char* why) { return ctx->set_error(INVALID_PARAM, std::string(name) + ": " + why); };
  const int rank = static_cast<int>(xshape.size());
  if (rdims.empty() || !is_shape(xshape)) return wrong("no dims to reduce, or a negative dim");
  std::vector<int> dims(rdims);
  for (int& d : dims) d += d < 0 ? rank : 0;
  std::sort(dims.begin(), dims.end());
  if (dims.front() < 0 || dims.back() >= rank) return wrong("there is no such dim");
  if (std::adjacent_find(dims.begin(), dims.end()) != dims.end()) return wrong("a dim is named twice");
  size_t first = dims.size() - 1;  // of the last dims that are neighbours
  while (first && dims[first - 1] + 1 == dims[first]) --first;
  if (first) {
    // those first, then the others of what is left
    std::vector<int64_t> left(xshape);
    for (size_t i = first; i < dims.size(); ++i) left[dims[i]] = 1;
    const std::vector<int> now(dims.begin() + first, dims.end()), then(dims.begin(), dims.begin() + first);
    // two places in turn, for what one pass leaves to the next: at the beginning, and behind what the pass before left there
    auto bytes = [](const std::vector<int64_t>& shape) { return (product(shape) * 4 + 63) / 64 * 64; };
    char* memory = static_cast<char*>(ctx->scratch(2 * bytes(left)));
    if (!memory) return ctx->set_error(NO_ENOUGH_WORKSPACE, std::string(name) + ": " + xpu_last_error_text());
    float* between = reinterpret_cast<float*>(static_cast<const void*>(x) == memory ? memory + bytes(xshape) : memory);
    const int status = reduce(ctx, name, kind, x, between, xshape, now);
    return status == SUCCESS ? reduce(ctx, name, kind, between, y, left, then) : status;
  }
  const Around a(xshape, dims.front(), dims.back());
  if (!a.outer || !a.inner) return SUCCESS;
  if (!x || !y) return wrong("no data");
  if (a.inner == 1)
    return launched(ctx, name,
                    XPU_LAUNCH(reduce_rows, clusters_for(ctx, a.outer), ctx->ncore(), ctx->xpu_stream, kind, x, y, a.outer, a.length));
  const int64_t pieces = a.outer * ((a.inner + kColumns - 1) / kColumns);
  return launched(
      ctx, name,
      XPU_LAUNCH(reduce_columns, clusters_for(ctx, pieces), ctx->ncore(), ctx->xpu_stream, kind, x, y, a.outer, a.length, a.inner));
}
}  // namespace

template <>
XPU_API int softmax<float>(Context* ctx, const float* x, float* y, const std::vector<int64_t>& xshape, int axis) {
  const int rank = static_cast<int>(xshape.size());
  if (axis < 0) axis += rank;
  XPU_CHECK_PARAM(axis >= 0 && axis < rank && is_shape(xshape));
  if (!product(xshape)) return SUCCESS;
  XPU_CHECK_PARAM(x && y);
  const Around a(xshape, axis, axis);
  if (a.inner == 1)
    return launched(ctx, __func__,
                    XPU_LAUNCH(softmax_rows, clusters_for(ctx, a.outer), ctx->ncore(), ctx->xpu_stream, x, y, a.outer, a.length));
  const int64_t pieces = a.outer * ((a.inner + kColumns - 1) / kColumns);
  return launched(ctx, __func__,
                  XPU_LAUNCH(softmax_columns, clusters_for(ctx, pieces), ctx->ncore(), ctx->xpu_stream, x, y, a.outer, a.length, a.inner));
}

#define XPU_DEFINE_REDUCE(name, kind)                                                                                                   \
  template <>                                                                                                                           \
  XPU_API int name<float>(Context * ctx, const float* x, float* y, const std::vector<int64_t>& xshape, const std::vector<int>& rdims) { \
    return reduce(ctx, #name, kind, x, y, xshape, rdims);                                                                               \
  }
XPU_DEFINE_REDUCE(reduce_sum, SUM)
XPU_DEFINE_REDUCE(reduce_mean, MEAN)
XPU_DEFINE_REDUCE(reduce_max, MAX)
XPU_DEFINE_REDUCE(reduce_min, MIN)

}  // namespace api
}  // namespace xpu
}  // namespace baidu
