// Moves with steps: slices, expansions, flips, padding; choices between elements; other element types.
#include "numbers.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kBytes = 2048;  // of a part of a row
constexpr int kMostDims = 8;

struct Steps {
  int rank, bytes;
  int64_t start, shape[kMostDims], step[kMostDims];
};

template <typename T>
__device__ void strided(const Steps& s, const T* x, T* y) {
  constexpr int kMost = kBytes / sizeof(T);
  XPU_LOCAL(T, in, kMost);
  XPU_LOCAL(T, out, kMost);
  const int last = s.rank - 1;
  const int64_t width = s.shape[last], step = s.step[last], reach = step < 0 ? -step : step;
  // as many as their span fits, or one transfer each
  const int64_t most = reach <= 1 ? kMost : reach <= kMost / 4 ? (kMost - 1) / reach + 1 : kMost;
  const int64_t chunks = (width + most - 1) / most;
  int64_t rows = 1;
  for (int d = 0; d < last; ++d) rows *= s.shape[d];
  for (int64_t piece = unit(); piece < rows * chunks; piece += units()) {
    const int64_t row = piece / chunks, from = piece % chunks * most, n = std::min(most, width - from);
    int64_t rest = row, at = s.start + from * step;
    for (int d = last - 1; d >= 0; --d) {
      at += rest % s.shape[d] * s.step[d];
      rest /= s.shape[d];
    }
    T* ready = out;
    if (reach == 1 && step > 0) {
      GM2LM(x + at, in, n * sizeof(T));
      ready = in;
    } else if (reach <= kMost / 4) {
      const int64_t first = step < 0 ? at + (n - 1) * step : at;
      GM2LM(x + first, in, ((n - 1) * reach + 1) * sizeof(T));
      for (int64_t i = 0; i < n; ++i) out[i] = in[at - first + i * step];
      XPU_OPS(n);
    } else {
      for (int64_t i = 0; i < n; ++i) GM2LM_ASYNC(x + at + i * step, out + i, sizeof(T));
      mfence();
    }
    LM2GM(ready, y + row * width + from, n * sizeof(T));
  }
}
__global__ void copy_steps(Steps s, _global_ptr_ const char* x, _global_ptr_ char* y) {
  switch (s.bytes) {
    case 1:
      return strided(s, reinterpret_cast<const uint8_t*>(x), reinterpret_cast<uint8_t*>(y));
    case 2:
      return strided(s, reinterpret_cast<const uint16_t*>(x), reinterpret_cast<uint16_t*>(y));
    case 4:
      return strided(s, reinterpret_cast<const uint32_t*>(x), reinterpret_cast<uint32_t*>(y));
    default:
      return strided(s, reinterpret_cast<const uint64_t*>(x), reinterpret_cast<uint64_t*>(y));
  }
}
XPU_KERNEL(copy_steps)

// Dims of one element dropped, neighbours that lie in step joined.
Steps joined(int bytes, const std::vector<int64_t>& shape, int64_t start, const std::vector<int64_t>& steps) {
  Steps s{0, bytes, start, {}, {}};
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1) continue;
    if (s.rank && s.step[s.rank - 1] == steps[d] * shape[d]) {
      s.shape[s.rank - 1] *= shape[d];
      s.step[s.rank - 1] = steps[d];
    } else {
      s.shape[s.rank] = shape[d];
      s.step[s.rank++] = steps[d];
    }
  }
  if (!s.rank) s.rank = 1, s.shape[0] = 1, s.step[0] = 1;
  return s;
}

int sliced(Context* ctx, int bytes, const void* x, void* y, const std::vector<int64_t>& yshape, int64_t start,
           const std::vector<int64_t>& steps) {
  auto wrong = [&](const char* why) { return ctx->set_error(INVALID_PARAM, std::string("strided_slice: ") + why); };
  if (yshape.size() != steps.size() || !is_shape(yshape) || yshape.size() > kMostDims) return wrong("the shape, or the steps");
  const int64_t total = product(yshape);
  if (!total) return SUCCESS;
  if (!x || !y) return wrong("no data");
  const Steps s = joined(bytes, yshape, start, steps);
  const int64_t width = s.shape[s.rank - 1], most = kBytes / bytes;
  const int clusters = clusters_for(ctx, total / width * ((width + most - 1) / most));
  return launched(ctx, "strided_slice", XPU_LAUNCH(copy_steps, clusters, ctx->ncore(), ctx->xpu_stream, s, static_cast<const char*>(x),
                                                   static_cast<char*>(y)));
}

struct Padding {
  int rank, bytes;
  int64_t in[kMostDims], out[kMostDims], before[kMostDims];
  uint64_t value;
};

template <typename T>
__device__ void padded(const Padding& p, const T* x, T* y) {
  constexpr int kMost = kBytes / sizeof(T);
  XPU_LOCAL(T, lm, kMost);
  T value;
  memcpy(&value, &p.value, sizeof(T));
  const int last = p.rank - 1;
  const int64_t width = p.out[last], chunks = (width + kMost - 1) / kMost;
  int64_t rows = 1;
  for (int d = 0; d < last; ++d) rows *= p.out[d];
  for (int64_t piece = unit(); piece < rows * chunks; piece += units()) {
    const int64_t row = piece / chunks, from = piece % chunks * kMost, n = std::min<int64_t>(kMost, width - from);
    int64_t rest = row, at = 0, step = p.in[last];
    bool inside = true;
    for (int d = last - 1; d >= 0; --d) {
      const int64_t i = rest % p.out[d] - p.before[d];
      inside = inside && i >= 0 && i < p.in[d];
      at += i * step;
      step *= p.in[d];
      rest /= p.out[d];
    }
    const int64_t begin = p.before[last] - from, lo = std::clamp<int64_t>(begin, 0, n);
    const int64_t hi = std::clamp<int64_t>(begin + p.in[last], lo, n);
    for (int64_t i = 0; i < n; ++i) lm[i] = value;
    if (inside && hi > lo) GM2LM(x + at + from + lo - p.before[last], lm + lo, (hi - lo) * sizeof(T));
    XPU_OPS(n);
    LM2GM(lm, y + row * width + from, n * sizeof(T));
  }
}
__global__ void copy_padded(Padding p, _global_ptr_ const char* x, _global_ptr_ char* y) {
  switch (p.bytes) {
    case 1:
      return padded(p, reinterpret_cast<const uint8_t*>(x), reinterpret_cast<uint8_t*>(y));
    case 2:
      return padded(p, reinterpret_cast<const uint16_t*>(x), reinterpret_cast<uint16_t*>(y));
    case 4:
      return padded(p, reinterpret_cast<const uint32_t*>(x), reinterpret_cast<uint32_t*>(y));
    default:
      return padded(p, reinterpret_cast<const uint64_t*>(x), reinterpret_cast<uint64_t*>(y));
  }
}
XPU_KERNEL(copy_padded)

int with_padding(Context* ctx, int bytes, const void* x, void* y, const std::vector<int64_t>& xshape, const std::vector<int64_t>& before,
                 const std::vector<int64_t>& after, uint64_t value) {
  auto wrong = [&](const char* why) { return ctx->set_error(INVALID_PARAM, std::string("pad: ") + why); };
  const size_t rank = xshape.size();
  if (before.size() != rank || after.size() != rank || rank > kMostDims || !is_shape(xshape)) return wrong("the shape, or the padding");
  Padding p{0, bytes, {}, {}, {}, value};
  int64_t total = 1;
  bool joins = false;
  for (size_t d = 0; d < rank; ++d) {
    const int64_t out = xshape[d] + before[d] + after[d];
    if (out < 0) return wrong("nothing is left");
    total *= out;
    if (joins && !before[d] && !after[d]) {  // a dim that is not padded, behind any other
      p.in[p.rank - 1] *= xshape[d], p.out[p.rank - 1] *= xshape[d], p.before[p.rank - 1] *= xshape[d];
    } else {
      p.in[p.rank] = xshape[d], p.out[p.rank] = out, p.before[p.rank++] = before[d];
    }
    joins = true;
  }
  if (!p.rank) p.rank = 1, p.in[0] = p.out[0] = 1;
  if (!total) return SUCCESS;
  if (!y || (!x && product(xshape))) return wrong("no data");
  const int64_t width = p.out[p.rank - 1], most = kBytes / bytes;
  const int clusters = clusters_for(ctx, total / width * ((width + most - 1) / most));
  return launched(ctx, "pad", XPU_LAUNCH(copy_padded, clusters, ctx->ncore(), ctx->xpu_stream, p, static_cast<const char*>(x),
                                         static_cast<char*>(y)));
}

// ---- select: three operands, each with steps of its own; 0 repeats
struct Choice {
  int rank, bytes;
  int64_t shape[kMostDims], steps[3][kMostDims];
};

template <typename T>
__device__ void choose(const Choice& s, const uint8_t* condition, const T* x, const T* y, T* z) {
  constexpr int kMost = 256;
  XPU_LOCAL(uint8_t, c, kMost);
  XPU_LOCAL(T, a, kMost);
  XPU_LOCAL(T, b, kMost);
  const int last = s.rank - 1;
  const int64_t width = s.shape[last], chunks = (width + kMost - 1) / kMost;
  int64_t rows = 1;
  for (int d = 0; d < last; ++d) rows *= s.shape[d];
  for (int64_t piece = unit(); piece < rows * chunks; piece += units()) {
    const int64_t row = piece / chunks, from = piece % chunks * kMost, n = std::min<int64_t>(kMost, width - from);
    int64_t rest = row, at[3], step[3];
    for (int k = 0; k < 3; ++k) step[k] = s.steps[k][last], at[k] = step[k] ? from : 0;
    for (int d = last - 1; d >= 0; --d) {
      for (int k = 0; k < 3; ++k) at[k] += rest % s.shape[d] * s.steps[k][d];
      rest /= s.shape[d];
    }
    GM2LM_ASYNC(condition + at[0], c, step[0] ? n : 1);
    GM2LM_ASYNC(x + at[1], a, (step[1] ? n : 1) * sizeof(T));
    GM2LM_ASYNC(y + at[2], b, (step[2] ? n : 1) * sizeof(T));
    mfence();
    const T a0 = a[0];
    for (int64_t i = 0; i < n; ++i) a[i] = c[step[0] ? i : 0] ? (step[1] ? a[i] : a0) : b[step[2] ? i : 0];
    XPU_OPS(n);
    LM2GM(a, z + row * width + from, n * sizeof(T));
  }
}
template <typename T>
__device__ void choose_as(const Choice& s, const uint8_t* condition, const char* x, const char* y, char* z) {
  choose(s, condition, reinterpret_cast<const T*>(x), reinterpret_cast<const T*>(y), reinterpret_cast<T*>(z));
}
__global__ void choose_elements(Choice s, _global_ptr_ const uint8_t* condition, _global_ptr_ const char* x, _global_ptr_ const char* y,
                                _global_ptr_ char* z) {
  switch (s.bytes) {
    case 1:
      return choose_as<uint8_t>(s, condition, x, y, z);
    case 4:
      return choose_as<uint32_t>(s, condition, x, y, z);
    default:
      return choose_as<uint64_t>(s, condition, x, y, z);
  }
}
XPU_KERNEL(choose_elements)

int chosen(Context* ctx, int bytes, const bool* condition, const void* x, const void* y, void* z,
           const std::vector<const std::vector<int64_t>*>& shapes, const std::vector<int64_t>& zshape) {
  auto wrong = [&](const char* why) { return ctx->set_error(INVALID_PARAM, std::string("select: ") + why); };
  const int rank = static_cast<int>(zshape.size());
  if (rank > kMostDims || !is_shape(zshape)) return wrong("the shape");
  Choice s{std::max(rank, 1), bytes, {1}, {}};
  for (int d = 0; d < rank; ++d) s.shape[d] = zshape[d];
  for (int k = 0; k < 3; ++k) {
    const auto& shape = *shapes[k];
    if (static_cast<int>(shape.size()) > rank) return wrong("an operand has more dims than the result");
    int64_t step = 1;
    for (int d = rank - 1, i = static_cast<int>(shape.size()) - 1; i >= 0; --d, --i) {
      if (shape[i] != zshape[d] && shape[i] != 1) return wrong("an operand cannot be broadcast to the result");
      s.steps[k][d] = shape[i] == 1 ? 0 : step;
      step *= shape[i];
    }
  }
  // neighbours that all operands have in step
  for (int d = s.rank - 2; d >= 0; --d) {
    bool same = true;
    for (int k = 0; k < 3; ++k) same = same && s.steps[k][d] == s.steps[k][d + 1] * s.shape[d + 1];
    if (!same) continue;
    s.shape[d] *= s.shape[d + 1];
    for (int k = 0; k < 3; ++k) s.steps[k][d] = s.steps[k][d + 1];
    for (int e = d + 1; e + 1 < s.rank; ++e) {
      s.shape[e] = s.shape[e + 1];
      for (int k = 0; k < 3; ++k) s.steps[k][e] = s.steps[k][e + 1];
    }
    --s.rank;
  }
  for (int k = 0; k < 3; ++k)
    if (s.shape[s.rank - 1] > 1 && s.steps[k][s.rank - 1] > 1) return wrong("an operand's last dim");
  const int64_t total = product(zshape);
  if (!total) return SUCCESS;
  if (!condition || !x || !y || !z) return wrong("no data");
  const int64_t width = s.shape[s.rank - 1];
  const int clusters = clusters_for(ctx, total / width * ((width + 255) / 256));
  return launched(ctx, "select",
                  XPU_LAUNCH(choose_elements, clusters, ctx->ncore(), ctx->xpu_stream, s, reinterpret_cast<const uint8_t*>(condition),
                             static_cast<const char*>(x), static_cast<const char*>(y), static_cast<char*>(z)));
}

// ---- element types
template <typename TX, typename TY>
__device__ TY converted(TX v) {
  if constexpr (std::is_same<TX, float16>::value) return converted<float, TY>(to_float(v));
  if constexpr (std::is_same<TY, float16>::value) {
    const _Float16 half = static_cast<_Float16>(v);
    float16 to;
    memcpy(&to, &half, sizeof(to));
    return to;
  } else if constexpr (!std::is_same<TX, float16>::value) {
    return static_cast<TY>(v);
  }
}
template <typename TX, typename TY>
__device__ void convert(const TX* x, TY* y, int64_t len) {
  XPU_LOCAL(TX, in, 512);
  XPU_LOCAL(TY, out, 512);
  for (int64_t at = unit() * 512; at < len; at += units() * 512) {
    const int n = static_cast<int>(std::min<int64_t>(512, len - at));
    GM2LM(x + at, in, n * sizeof(TX));
    for (int i = 0; i < n; ++i) out[i] = converted<TX, TY>(in[i]);
    XPU_OPS(n);
    LM2GM(out, y + at, n * sizeof(TY));
  }
}

__global__ void fill(_global_ptr_ char* y, int64_t size, uint64_t value) {
  XPU_LOCAL(uint64_t, lm, kBytes / 8);
  for (int i = 0; i < kBytes / 8; ++i) lm[i] = value;
  for (int64_t at = unit() * kBytes; at < size; at += units() * kBytes) LM2GM(lm, y + at, std::min<int64_t>(kBytes, size - at));
}
XPU_KERNEL(fill)

template <typename T>
uint64_t bits_of(T value) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  return bits;
}
}  // namespace

#define XPU_DEFINE_CAST(name, TX, TY)                                                                                                 \
  namespace {                                                                                                                         \
  __global__ void name(_global_ptr_ const TX* x, _global_ptr_ TY* y, int64_t len) { convert(x, y, len); }                             \
  XPU_KERNEL(name)                                                                                                                    \
  }                                                                                                                                   \
  template <>                                                                                                                         \
  XPU_API int cast<TX, TY>(Context * ctx, const TX* x, TY* y, int64_t len) {                                                          \
    XPU_CHECK_PARAM(len >= 0 && ((x && y) || !len));                                                                                  \
    if (!len) return SUCCESS;                                                                                                         \
    return launched(ctx, "cast", XPU_LAUNCH(name, clusters_for(ctx, (len + 511) / 512), ctx->ncore(), ctx->xpu_stream, x, y, len));   \
  }
XPU_DEFINE_CAST(float_to_int32, float, int32_t)
XPU_DEFINE_CAST(float_to_int64, float, int64_t)
XPU_DEFINE_CAST(int32_to_float, int32_t, float)
XPU_DEFINE_CAST(int64_to_float, int64_t, float)
XPU_DEFINE_CAST(int32_to_int64, int32_t, int64_t)
XPU_DEFINE_CAST(int64_to_int32, int64_t, int32_t)
XPU_DEFINE_CAST(bool_to_float, bool, float)
XPU_DEFINE_CAST(bool_to_int32, bool, int32_t)
XPU_DEFINE_CAST(bool_to_int64, bool, int64_t)
XPU_DEFINE_CAST(float_to_float16, float, float16)
XPU_DEFINE_CAST(float16_to_float, float16, float)

#define XPU_DEFINE_SLICES(T)                                                                                                          \
  template <>                                                                                                                         \
  XPU_API int strided_slice<T>(Context * ctx, const T* x, T* y, const std::vector<int64_t>& yshape, int64_t start,                    \
                               const std::vector<int64_t>& steps) {                                                                   \
    return sliced(ctx, sizeof(T), x, y, yshape, start, steps);                                                                        \
  }                                                                                                                                   \
  template <>                                                                                                                         \
  XPU_API int pad<T>(Context * ctx, const T* x, T* y, const std::vector<int64_t>& xshape, const std::vector<int64_t>& before,         \
                     const std::vector<int64_t>& after, T value) {                                                                    \
    return with_padding(ctx, sizeof(T), x, y, xshape, before, after, bits_of(value));                                                 \
  }
XPU_DEFINE_SLICES(int8_t)
XPU_DEFINE_SLICES(int16_t)
XPU_DEFINE_SLICES(int32_t)
XPU_DEFINE_SLICES(int64_t)
XPU_DEFINE_SLICES(float)

#define XPU_DEFINE_SELECT(T)                                                                                                          \
  template <>                                                                                                                         \
  XPU_API int select<T>(Context * ctx, const bool* condition, const T* x, const T* y, T* z,                                           \
                        const std::vector<int64_t>& condition_shape, const std::vector<int64_t>& xshape,                              \
                        const std::vector<int64_t>& yshape, const std::vector<int64_t>& zshape) {                                     \
    return chosen(ctx, sizeof(T), condition, x, y, z, {&condition_shape, &xshape, &yshape}, zshape);                                  \
  }
XPU_DEFINE_SELECT(int8_t)
XPU_DEFINE_SELECT(int32_t)
XPU_DEFINE_SELECT(int64_t)
XPU_DEFINE_SELECT(float)

template <typename T>
int filled(Context* ctx, T* y, int64_t len, T value) {
  XPU_CHECK_PARAM(len >= 0 && (y || !len));
  if (!len) return SUCCESS;
  uint64_t pattern = 0;
  for (size_t i = 0; i < 8; i += sizeof(T)) pattern |= bits_of(value) << (8 * i);
  const int64_t size = len * static_cast<int64_t>(sizeof(T));
  return launched(ctx, "constant", XPU_LAUNCH(fill, clusters_for(ctx, (size + kBytes - 1) / kBytes), ctx->ncore(), ctx->xpu_stream,
                                              reinterpret_cast<char*>(y), size, pattern));
}
#define XPU_DEFINE_CONSTANT(T)                                                   \
  template <>                                                                    \
  XPU_API int constant<T>(Context * ctx, T* y, int64_t len, T value) {           \
    return filled<T>(ctx, y, len, value);                                        \
  }
XPU_DEFINE_CONSTANT(int8_t)
XPU_DEFINE_CONSTANT(int32_t)
XPU_DEFINE_CONSTANT(int64_t)
XPU_DEFINE_CONSTANT(float)

}  // namespace api
}  // namespace xpu
}  // namespace baidu
