// CUDA C++ as g++ reads it: the threads of a block take turns as fibres, and change at barriers and shuffles.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define CUDART_INF_F INFINITY
#define CUDART_NAN_F NAN
#define CUDART_INF INFINITY
#define CUDART_NAN NAN

struct Index {
  unsigned x, y, z;
};
extern Index threadIdx, blockIdx, blockDim, gridDim;
struct EmulatedKernel {
  void (*run)(void** arguments);
  bool barriers;
  unsigned parameters;
  const unsigned* sizes;  // of the parameters, in bytes
};
void emulated_wait_block();
void emulated_wait_warp();
extern char emulated_slots[1024][8];
extern unsigned emulated_thread;

inline void __syncthreads() { emulated_wait_block(); }
inline void __syncwarp(unsigned = ~0u) { emulated_wait_warp(); }
inline unsigned __activemask() { return ~0u; }

template <class T>
T emulated_exchange(T value, int source) {
  static_assert(sizeof(T) <= 8, "");
  memcpy(emulated_slots[emulated_thread], &value, sizeof(T));
  emulated_wait_warp();
  T other;
  memcpy(&other, emulated_slots[emulated_thread / 32 * 32 + source], sizeof(T));
  emulated_wait_warp();
  return other;
}
inline int emulated_lane() { return emulated_thread % 32; }
template <class T>
T __shfl_sync(unsigned, T v, int lane, int width = 32) {
  return emulated_exchange(v, emulated_lane() / width * width + lane % width);
}
template <class T>
T __shfl_down_sync(unsigned, T v, unsigned by, int width = 32) {
  int own = emulated_lane(), to = own + by;
  return emulated_exchange(v, own % width + (int)by < width ? to : own);
}
template <class T>
T __shfl_up_sync(unsigned, T v, unsigned by, int width = 32) {
  int own = emulated_lane();
  return emulated_exchange(v, own % width >= (int)by ? own - (int)by : own);
}
template <class T>
T __shfl_xor_sync(unsigned, T v, int mask, int width = 32) {
  int own = emulated_lane(), to = own ^ mask;
  return emulated_exchange(v, to / width == own / width ? to : own);
}

template <class A, class B>
inline auto max(A a, B b) -> decltype(a + b) { return a > b ? a : b; }
template <class A, class B>
inline auto min(A a, B b) -> decltype(a + b) { return a < b ? a : b; }
inline float max(float a, float b) { return fmaxf(a, b); }
inline float min(float a, float b) { return fminf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
inline double rsqrt(double v) { return 1.0 / sqrt(v); }
inline float __int_as_float(int v) { float f; memcpy(&f, &v, 4); return f; }
inline int __float_as_int(float v) { int i; memcpy(&i, &v, 4); return i; }
template <class T>
inline T __ldg(const T* p) { return *p; }

#define EMULATED_VECTORS(T, N)                                                       \
  struct N##1 { T x; };                                                              \
  struct alignas(2 * sizeof(T)) N##2 { T x, y; };                                    \
  struct N##3 { T x, y, z; };                                                        \
  struct alignas(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) N##4 { T x, y, z, w; };         \
  inline N##2 make_##N##2(T x, T y) { return {x, y}; }                               \
  inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                       \
  inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATED_VECTORS(float, float)
EMULATED_VECTORS(double, double)
EMULATED_VECTORS(int, int)
EMULATED_VECTORS(unsigned, uint)
EMULATED_VECTORS(signed char, char)
EMULATED_VECTORS(unsigned char, uchar)
EMULATED_VECTORS(short, short)
EMULATED_VECTORS(unsigned short, ushort)
EMULATED_VECTORS(long long, longlong)
EMULATED_VECTORS(unsigned long long, ulonglong)
