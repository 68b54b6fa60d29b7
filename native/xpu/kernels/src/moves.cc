// Functions that move elements and compute nothing: by the size of an element.
#include "device.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kBytes = 4096;  // of a part of a row
constexpr int kSquare = 16;   // elements of a tile's side
constexpr int kMostDims = 8;

// `rows` rows of `size` bytes from from_pitch apart to to_pitch apart.
__global__ void copy_rows(_global_ptr_ const char* x, _global_ptr_ char* y, int64_t rows, int64_t size, int64_t from_pitch,
                          int64_t to_pitch) {
  XPU_LOCAL(char, lm, kBytes);
  const int64_t chunks = (size + kBytes - 1) / kBytes;
  for (int64_t piece = unit(); piece < rows * chunks; piece += units()) {
    const int64_t row = piece / chunks, from = piece % chunks * kBytes, n = std::min<int64_t>(kBytes, size - from);
    GM2LM(x + row * from_pitch + from, lm, n);
    LM2GM(lm, y + row * to_pitch + from, n);
  }
}
XPU_KERNEL(copy_rows)

// Outer dims of the result, and the two that change places: `a` is the last of x, `b` the last of y.
struct Permutation {
  int rank, bytes;
  int64_t shape[kMostDims], x_step[kMostDims], y_step[kMostDims];
  int64_t a, a_to, b, b_from;
};

template <typename T>
__device__ void swap_tiles(const Permutation& p, const T* x, T* y) {
  XPU_LOCAL(T, in, kSquare * kSquare);
  XPU_LOCAL(T, out, kSquare * kSquare);
  const int64_t a_tiles = (p.a + kSquare - 1) / kSquare, b_tiles = (p.b + kSquare - 1) / kSquare;
  int64_t outer = 1;
  for (int d = 0; d < p.rank; ++d) outer *= p.shape[d];
  for (int64_t piece = unit(); piece < outer * a_tiles * b_tiles; piece += units()) {
    const int64_t a0 = piece % a_tiles * kSquare, b0 = piece / a_tiles % b_tiles * kSquare;
    const int na = static_cast<int>(std::min<int64_t>(kSquare, p.a - a0)), nb = static_cast<int>(std::min<int64_t>(kSquare, p.b - b0));
    int64_t rest = piece / (a_tiles * b_tiles), from = a0 + b0 * p.b_from, to = b0 + a0 * p.a_to;
    for (int d = p.rank - 1; d >= 0; --d) {
      from += rest % p.shape[d] * p.x_step[d];
      to += rest % p.shape[d] * p.y_step[d];
      rest /= p.shape[d];
    }
    for (int j = 0; j < nb; ++j) GM2LM_ASYNC(x + from + j * p.b_from, in + j * kSquare, na * sizeof(T));
    mfence();
    for (int i = 0; i < na; ++i)
      for (int j = 0; j < nb; ++j) out[i * kSquare + j] = in[j * kSquare + i];
    for (int i = 0; i < na; ++i) LM2GM_ASYNC(out + i * kSquare, y + to + i * p.a_to, nb * sizeof(T));
    mfence();
  }
}

__global__ void swap_dims(Permutation p, _global_ptr_ const char* x, _global_ptr_ char* y) {
  switch (p.bytes) {
    case 1:
      return swap_tiles(p, reinterpret_cast<const uint8_t*>(x), reinterpret_cast<uint8_t*>(y));
    case 2:
      return swap_tiles(p, reinterpret_cast<const uint16_t*>(x), reinterpret_cast<uint16_t*>(y));
    case 4:
      return swap_tiles(p, reinterpret_cast<const uint32_t*>(x), reinterpret_cast<uint32_t*>(y));
    default:
      return swap_tiles(p, reinterpret_cast<const uint64_t*>(x), reinterpret_cast<uint64_t*>(y));
  }
}
XPU_KERNEL(swap_dims)

// Rows keep their elements in order, and change places.
__global__ void permute_rows(Permutation p, _global_ptr_ const char* x, _global_ptr_ char* y) {
  XPU_LOCAL(char, lm, kBytes);
  const int64_t size = p.a * p.bytes, chunks = (size + kBytes - 1) / kBytes;
  int64_t outer = 1;
  for (int d = 0; d < p.rank; ++d) outer *= p.shape[d];
  for (int64_t piece = unit(); piece < outer * chunks; piece += units()) {
    int64_t rest = piece / chunks, from = 0, to = 0;
    for (int d = p.rank - 1; d >= 0; --d) {
      from += rest % p.shape[d] * p.x_step[d];
      to += rest % p.shape[d] * p.y_step[d];
      rest /= p.shape[d];
    }
    const int64_t at = piece % chunks * kBytes, n = std::min<int64_t>(kBytes, size - at);
    GM2LM(x + from * p.bytes + at, lm, n);
    LM2GM(lm, y + to * p.bytes + at, n);
  }
}
XPU_KERNEL(permute_rows)

constexpr int kMostParts = 16;

// Parts of rows: part i of `rows` rows has size[i] bytes, at at[i] of a whole row of `pitch` bytes.
struct RowParts {
  int count;
  int64_t pitch, at[kMostParts], size[kMostParts], chunks[kMostParts + 1];  // chunks: of a row, of all parts before
  const char* from[kMostParts];
  char* to[kMostParts];
};

// Joins parts to whole rows (from → whole), or takes rows apart (whole → to).
__global__ void copy_parts(RowParts p, _global_ptr_ char* whole, int64_t rows, int joins) {
  XPU_LOCAL(char, lm, kBytes);
  const int64_t chunks = p.chunks[p.count];
  for (int64_t piece = unit(); piece < rows * chunks; piece += units()) {
    const int64_t row = piece / chunks, chunk = piece % chunks;
    int i = 0;
    while (chunk >= p.chunks[i + 1]) ++i;
    const int64_t from = (chunk - p.chunks[i]) * kBytes, n = std::min<int64_t>(kBytes, p.size[i] - from);
    char* there = whole + row * p.pitch + p.at[i] + from;
    const int64_t here = row * p.size[i] + from;
    GM2LM(joins ? p.from[i] + here : there, lm, n);
    LM2GM(lm, joins ? there : p.to[i] + here, n);
  }
}
XPU_KERNEL(copy_parts)

// In as many launches as the parts need.
int move_parts(Context* ctx, const char* name, const std::vector<const void*>& from, const std::vector<void*>& to, void* whole,
               int64_t rows, const std::vector<int64_t>& sizes, bool joins) {
  int64_t pitch = 0, at = 0;
  for (int64_t size : sizes) pitch += size;
  if (!rows || !pitch) return SUCCESS;
  if (!whole) return ctx->set_error(INVALID_PARAM, std::string(name) + ": no data");
  RowParts p{};
  p.pitch = pitch;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i]) {
      if (!(joins ? from[i] : to[i])) return ctx->set_error(INVALID_PARAM, std::string(name) + ": no data");
      (joins ? p.from[p.count] = static_cast<const char*>(from[i]) : p.to[p.count] = static_cast<char*>(to[i]));
      p.at[p.count] = at, p.size[p.count] = sizes[i];
      p.chunks[p.count + 1] = p.chunks[p.count] + (sizes[i] + kBytes - 1) / kBytes;
      ++p.count;
    }
    at += sizes[i];
    if (p.count == kMostParts || (p.count && i + 1 == sizes.size())) {
      const int clusters = clusters_for(ctx, rows * p.chunks[p.count]);
      const int status = launched(ctx, name, XPU_LAUNCH(copy_parts, clusters, ctx->ncore(), ctx->xpu_stream, p, static_cast<char*>(whole),
                                                        rows, static_cast<int>(joins)));
      if (status != SUCCESS) return status;
      p.count = 0;
    }
  }
  return SUCCESS;
}

int move_rows(Context* ctx, const char* name, const void* x, void* y, int64_t rows, int64_t size, int64_t from_pitch, int64_t to_pitch) {
  if (!rows || !size) return SUCCESS;
  if (!x || !y) return ctx->set_error(INVALID_PARAM, std::string(name) + ": no data");
  const int clusters = clusters_for(ctx, rows * ((size + kBytes - 1) / kBytes));
  return launched(ctx, name,
                  XPU_LAUNCH(copy_rows, clusters, ctx->ncore(), ctx->xpu_stream, static_cast<const char*>(x), static_cast<char*>(y), rows,
                             size, from_pitch, to_pitch));
}

int transposed(Context* ctx, int bytes, const void* x, void* y, const std::vector<int64_t>& xshape, const std::vector<int>& permute) {
  auto wrong = [&](const char* why) { return ctx->set_error(INVALID_PARAM, std::string("transpose: ") + why); };
  const int rank = static_cast<int>(xshape.size());
  std::vector<int> sorted(permute);
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < static_cast<int>(sorted.size()); ++i)
    if (sorted[i] != i) return wrong("permute is no permutation");
  if (static_cast<int>(permute.size()) != rank || !is_shape(xshape) || rank > kMostDims) return wrong("the shape");
  const int64_t total = product(xshape);
  if (!total) return SUCCESS;
  if (!x || !y) return wrong("no data");
  std::vector<int64_t> x_step(rank, 1);
  for (int d = rank - 2; d >= 0; --d) x_step[d] = x_step[d + 1] * xshape[d + 1];
  // the result's dims, neighbours that stay neighbours joined
  std::vector<int64_t> shape, step;
  for (int d : permute) {
    if (xshape[d] == 1) continue;
    if (!shape.empty() && step.back() == x_step[d] * xshape[d]) {
      shape.back() *= xshape[d];
      step.back() = x_step[d];
    } else {
      shape.push_back(xshape[d]);
      step.push_back(x_step[d]);
    }
  }
  const int dims = static_cast<int>(shape.size());
  if (dims <= 1) return move_rows(ctx, "transpose", x, y, 1, total * bytes, 0, 0);
  std::vector<int64_t> y_step(dims, 1);
  for (int d = dims - 2; d >= 0; --d) y_step[d] = y_step[d + 1] * shape[d + 1];
  const bool rows = step.back() == 1;
  Permutation p{0, bytes, {}, {}, {}, 1, 0, 1, 0};
  for (int d = 0; d < dims; ++d) {
    if (step[d] == 1) {
      p.a = shape[d], p.a_to = y_step[d];
    } else if (d == dims - 1) {
      p.b = shape[d], p.b_from = step[d];
    } else {
      p.shape[p.rank] = shape[d], p.x_step[p.rank] = step[d], p.y_step[p.rank++] = y_step[d];
    }
  }
  const char* from = static_cast<const char*>(x);
  char* to = static_cast<char*>(y);
  const int clusters = clusters_for(ctx, rows ? total / p.a : total / (kSquare * kSquare) + 1);
  if (rows) return launched(ctx, "transpose", XPU_LAUNCH(permute_rows, clusters, ctx->ncore(), ctx->xpu_stream, p, from, to));
  return launched(ctx, "transpose", XPU_LAUNCH(swap_dims, clusters, ctx->ncore(), ctx->xpu_stream, p, from, to));
}
}  // namespace

#define XPU_DEFINE_MOVES(T)                                                                                                        \
  template <>                                                                                                                      \
  XPU_API int copy<T>(Context * ctx, const T* x, T* y, int64_t len) {                                                              \
    XPU_CHECK_PARAM(len >= 0);                                                                                                     \
    return move_rows(ctx, __func__, x, y, 1, len * static_cast<int64_t>(sizeof(T)), 0, 0);                                         \
  }                                                                                                                                \
  template <>                                                                                                                      \
  XPU_API int transpose<T>(Context * ctx, const T* x, T* y, const std::vector<int64_t>& xshape, const std::vector<int>& permute) { \
    return transposed(ctx, sizeof(T), x, y, xshape, permute);                                                                      \
  }                                                                                                                                \
  template <>                                                                                                                      \
  XPU_API int concat<T>(Context * ctx, const std::vector<const T*>& xs, T* y, const std::vector<std::vector<int64_t>>& xshapes,    \
                        int axis) {                                                                                                \
    XPU_CHECK_PARAM(!xs.empty() && xs.size() == xshapes.size());                                                                   \
    const int rank = static_cast<int>(xshapes[0].size());                                                                          \
    if (axis < 0) axis += rank;                                                                                                    \
    XPU_CHECK_PARAM(axis >= 0 && axis < rank);                                                                                     \
    int64_t whole = 0;                                                                                                             \
    for (const auto& shape : xshapes) {                                                                                            \
      XPU_CHECK_PARAM(static_cast<int>(shape.size()) == rank && is_shape(shape));                                                  \
      for (int d = 0; d < rank; ++d) XPU_CHECK_PARAM(d == axis || shape[d] == xshapes[0][d]);                                      \
      whole += shape[axis];                                                                                                        \
    }                                                                                                                              \
    const Around a(xshapes[0], axis, axis);                                                                                        \
    std::vector<const void*> from(xs.begin(), xs.end());                                                                           \
    std::vector<int64_t> sizes;                                                                                                    \
    for (const auto& shape : xshapes) sizes.push_back(shape[axis] * static_cast<int64_t>(sizeof(T)) * a.inner);                    \
    return move_parts(ctx, __func__, from, {}, y, whole ? a.outer : 0, sizes, true);                                               \
  }                                                                                                                                \
  template <>                                                                                                                      \
  XPU_API int split<T>(Context * ctx, const T* x, const std::vector<T*>& ys, const std::vector<int64_t>& xshape,                   \
                       const std::vector<int64_t>& sizes, int axis) {                                                              \
    const int rank = static_cast<int>(xshape.size());                                                                              \
    if (axis < 0) axis += rank;                                                                                                    \
    XPU_CHECK_PARAM(axis >= 0 && axis < rank && is_shape(xshape) && is_shape(sizes) && ys.size() == sizes.size());                 \
    int64_t whole = 0;                                                                                                             \
    for (int64_t size : sizes) whole += size;                                                                                      \
    XPU_CHECK_PARAM(whole == xshape[axis]);                                                                                        \
    const Around a(xshape, axis, axis);                                                                                            \
    std::vector<int64_t> bytes;                                                                                                    \
    for (int64_t size : sizes) bytes.push_back(size * static_cast<int64_t>(sizeof(T)) * a.inner);                                  \
    return move_parts(ctx, __func__, {}, std::vector<void*>(ys.begin(), ys.end()), const_cast<T*>(x), a.outer, bytes, false);      \
  }
XPU_DEFINE_MOVES(int8_t)
XPU_DEFINE_MOVES(int16_t)
XPU_DEFINE_MOVES(int32_t)
XPU_DEFINE_MOVES(int64_t)
XPU_DEFINE_MOVES(float)

}  // namespace api
}  // namespace xpu
}  // namespace baidu
