// What the words of the kernels' dialect mean on this chip: memory is one, and transfers are copies that are done at once.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>

#define __global__ static
#define __device__ static inline
#define _global_ptr_
#define XPU_LOCAL(T, name, count) alignas(64) T name[count]
#define XPU_OPS(count)
#define XPU_TENSOR(pointer, bytes)
#define GM2LM(from, to, size) memcpy(to, from, size)
#define GM2LM_ASYNC GM2LM
#define LM2GM GM2LM
#define LM2GM_ASYNC LM2GM
#define mfence()
#define cluster_id() 0
static thread_local int tiny_core;
#define core_id() tiny_core

// A kernel takes its arguments as an array of words, each the bits of one.
template <typename... Args>
static void tiny_run(void (*kernel)(Args...), const int64_t* words, int core) {
  tiny_core = core;
  auto next = [&](auto value) { return memcpy(&value, words++, sizeof(value)), value; };
  std::apply(kernel, std::tuple<Args...>{next(Args{})...});  // in braces: from left to right
}
#define XPU_KERNEL(kernel) \
  extern "C" void tiny_##kernel(const int64_t* words, int core) { tiny_run(kernel, words, core); }
