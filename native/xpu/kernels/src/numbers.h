// What the matrix units multiply: floats, half floats, or floats rounded to integers by a max pointer.
#ifndef XPU_KERNELS_NUMBERS_H_
#define XPU_KERNELS_NUMBERS_H_

#include <cmath>

#include "device.h"

namespace baidu {
namespace xpu {
namespace api {

constexpr int kMaxPtr = 16;  // floats behind a max pointer, at most

__device__ float to_float(float16 v) {
  _Float16 half;
  memcpy(&half, &v.bits, sizeof(half));
  return half;
}
__device__ float to_half(float v) { return static_cast<_Float16>(v); }  // the nearest one, as a float

// Element: of an operand in a unit's buffer; Sum: of a product; kMax: what max / scale is; Scale: what is scaled in; kScaled: operands have
// max pointers.
template <int Type>
struct Floats {
  using Element = float;
  using Sum = float;
  using Scale = float;
  static constexpr int kType = Type;
  static constexpr bool kScaled = false;
  static constexpr float kMax = 1;
};
template <int Type, int Max>
struct Integers {
  using Element = int16_t;
  using Sum = int64_t;
  using Scale = float;
  static constexpr int kType = Type;
  static constexpr bool kScaled = true;
  static constexpr float kMax = Max;
};
// Floats as fixed-point numbers of 31 bits: float32 has fewer bits than that to scale in.
struct Integers31 {
  using Element = int32_t;
  using Sum = double;
  using Scale = double;
  static constexpr int kType = SDNN_INT31;
  static constexpr bool kScaled = true;
  static constexpr double kMax = (1 << 30) - 1;
};
template <typename T>
struct Number;
template <>
struct Number<float> : Floats<SDNN_FLOAT> {};
template <>
struct Number<float16> : Floats<SDNN_FLOAT16> {};
template <>
struct Number<int16_t> : Integers<SDNN_INT16, 32767> {};
template <>
struct Number<int8_t> : Integers<SDNN_INT8, 127> {};
template <>
struct Number<int32_t> : Integers31 {};
template <typename G>
using Scale = typename Number<G>::Scale;

// Half to even, saturated; `factor`: RMAX / max.
template <typename G>
__device__ typename Number<G>::Element rounded(float v, Scale<G> factor) {
  if constexpr (Number<G>::kType == SDNN_FLOAT) return v;
  if constexpr (Number<G>::kType == SDNN_FLOAT16) return to_half(v);
  const Scale<G> scaled = std::nearbyint(v * factor), most = Number<G>::kMax;
  return static_cast<typename Number<G>::Element>(scaled > most ? most : scaled < -most ? -most : scaled == scaled ? scaled : 0);
}

// RMAX / max; 0 for a max of 0, which makes all numbers 0.
template <typename G>
__device__ Scale<G> factor_of(float max) {
  return max > 0 ? Number<G>::kMax / max : 0;
}

// A sum as a float, by what one of its steps is worth.
template <typename G>
__device__ float worth(typename Number<G>::Sum sum, Scale<G> step) {
  return static_cast<float>(static_cast<Scale<G>>(sum) * step);
}

// The largest of a max pointer's numbers.
__device__ float largest(_global_ptr_ const float* max, int count, float* buffer) {
  SDNN_LOAD(buffer, max, 1, count * sizeof(float), 0, count * sizeof(float));
  float found = 0;
  for (int i = 0; i < count; ++i) found = found > buffer[i] ? found : buffer[i];
  return found;
}

template <typename G>
__device__ void multiply(const typename Number<G>::Element* a, const typename Number<G>::Element* b, typename Number<G>::Sum* c, int64_t m,
                         int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc) {
  if constexpr (Number<G>::kType == SDNN_FLOAT) {
    SDNN_PRODUCT(a, b, c, m, n, k, lda, ldb, ldc);
  } else if constexpr (Number<G>::kType == SDNN_FLOAT16) {
    SDNN_PRODUCT_HALF(a, b, c, m, n, k, lda, ldb, ldc);
  } else if constexpr (Number<G>::kType == SDNN_INT31) {
    SDNN_PRODUCT_INT31(a, b, c, m, n, k, lda, ldb, ldc);
  } else {
    SDNN_PRODUCT_INT(Number<G>::kType, a, b, c, m, n, k, lda, ldb, ldc);
  }
}

// What a unit found to be the largest number of its part of a result goes to its own place of y_max; the last one fills the rest.
__device__ void store_max(_global_ptr_ float* y_max, int count, float found, float* buffer) {
  const int from = static_cast<int>(sdnn_id()), many = from == sdnn_num() - 1 ? count - from : 1;
  for (int i = 0; i < many; ++i) buffer[i] = i ? 0 : found;
  SDNN_STORE(buffer, y_max + from, 1, many * sizeof(float), 0, many * sizeof(float));
}
__device__ float largest_of(const float* v, int64_t n, float found) {
  for (int64_t i = 0; i < n; ++i) found = fabsf(v[i]) > found ? fabsf(v[i]) : found;
  return found;
}

// The max pointer of x, which is found into work space where it is not given; nullptr: there is none, and ctx->error says why.
const float* max_of(Context* ctx, const float* x, const float* x_max, int64_t len);

}  // namespace api
}  // namespace xpu
}  // namespace baidu
#endif  // XPU_KERNELS_NUMBERS_H_
