// The kernel dialect on the emulator: what `#include "xpu/kernel/xtdk.h"` gives a kernel that the host's compiler compiles.
//
// A kernel is a function that every core of a grid of clusters × cores runs.  It computes on local memory (a core's own) and shared
// memory (a cluster's), and moves data between these and global memory by DMA.  Global pointers cannot be dereferenced.
//
//     __global__ void scale(float k, _global_ptr_ const float* x, _global_ptr_ float* y, int64_t n) {
//       XPU_LOCAL(float, lm, 1024);
//       for (int64_t at = 1024 * (cluster_id() * core_num() + core_id()); at < n; at += 1024 * cluster_num() * core_num()) {
//         int m = n - at < 1024 ? n - at : 1024;
//         GM2LM(x + at, lm, m * sizeof(float));
//         for (int i = 0; i < m; ++i) lm[i] *= k;
//         XPU_OPS(m);
//         LM2GM(lm, y + at, m * sizeof(float));
//       }
//     }
//     XPU_KERNEL(scale)
//
// XPU_LOCAL and XPU_SHARED declare memory (`__local__ T name[n]` and `__shared__ T name[n]` on the chip), XPU_KERNEL exports a kernel
// (nothing on the chip), XPU_LAUNCH launches one (`k<<<clusters, cores, stream>>>(…)`), XPU_OPS tells the time model how many
// operations were done since the last call (nothing on the chip).  XPU_TENSOR says how many bytes the tensor behind a global pointer has:
// a kernel that says so of one may move data of such tensors only (nothing on the chip).
#ifndef XPU_KERNEL_XTDK_H_
#define XPU_KERNEL_XTDK_H_

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <tuple>
#include <type_traits>
#include <utility>

#include "xpu/runtime.h"

#define __global__ static
#define __device__ static inline
#define _global_ptr_
#define _shared_ptr_
#define __simd__ alignas(64)

struct XPUKernelInfo {
  const char* name;
  const char* file;
  int line;
  int is_sdnn;     // runs on matrix units, not on cores
  int is_checked;  // every access of memory is looked at (-DXPU_CHECKED)
  int argument_bytes;
  void (*run)(const char* arguments);
};

// What the emulator gives a core.
extern "C" {
struct XPUCoreIds {
  int core, cores, cluster, clusters;
};
XPU_API const XPUCoreIds* xpu_emu_ids(void);
XPU_API void xpu_emu_dma(int kind, int async, const void* from, void* to, int64_t size, const char* file, int line);
XPU_API void xpu_emu_fence(const char* file, int line);
XPU_API void xpu_emu_sync_cluster(const char* file, int line);
XPU_API void* xpu_emu_local(size_t size, const char* name, const char* file, int line);
XPU_API void xpu_emu_local_end(void* memory);
XPU_API void* xpu_emu_shared(size_t size, const char* name, const char* file, int line);
XPU_API void xpu_emu_ops(int64_t count);
XPU_API void xpu_emu_tensor(const void* address, int64_t size, const char* name);
XPU_API void xpu_emu_fail(const char* what, const char* file, int line);
}

namespace xpu_emu {
enum Dma { kGM2LM, kLM2GM, kGM2SM, kSM2GM };

template <typename T>
class Local {
 public:
  Local(size_t count, const char* name, const char* file, int line)
      : memory_(static_cast<T*>(xpu_emu_local(count * sizeof(T), name, file, line))) {}
  ~Local() { xpu_emu_local_end(memory_); }
  Local(const Local&) = delete;
  T* get() const { return memory_; }

 private:
  T* memory_;
};

// The place of each argument: at a multiple of its own size.
template <typename... Args>
struct Layout {
  static constexpr size_t kCount = sizeof...(Args);
  static constexpr size_t offset(size_t index) {
    size_t sizes[] = {sizeof(Args)..., 1}, at = 0;
    for (size_t i = 0; i < index; ++i) {
      at = (at + sizes[i] - 1) / sizes[i] * sizes[i] + sizes[i];
    }
    return index < kCount ? (at + sizes[index] - 1) / sizes[index] * sizes[index] : at;
  }
};

template <auto kernel>
struct Entry;
template <typename... Args, void (*kernel)(Args...)>
struct Entry<kernel> {
  using Places = Layout<Args...>;
  static constexpr int kBytes = static_cast<int>(Places::offset(sizeof...(Args)));
  static void run(const char* from) { run(from, std::index_sequence_for<Args...>()); }
  template <size_t... I>
  static void run(const char* from, std::index_sequence<I...>) {
    (void)from;
    kernel(read<Args>(from + Places::offset(I))...);
  }
  template <typename T>
  static T read(const char* from) {
    std::remove_const_t<T> value;
    memcpy(&value, from, sizeof(T));
    return value;
  }
  static int launch(const XPUKernelInfo* info, int clusters, int cores, XPUStream stream, Args... arguments) {
    int status = xpu_launch_config(clusters, cores, stream);
    size_t index = 0;
    auto set = [&](const void* argument, size_t size) {
      if (status == XPU_SUCCESS) status = xpu_launch_argument_set(argument, size, Places::offset(index));
      ++index;
    };
    (void)set;
    (set(&arguments, sizeof(arguments)), ...);
    return status == XPU_SUCCESS ? xpu_launch_async(info) : status;
  }
};
}  // namespace xpu_emu

#ifdef XPU_CHECKED
#define XPU_EMU_CHECKED 1
#else
#define XPU_EMU_CHECKED 0
#endif

#define XPU_EMU_KERNEL(kernel, sdnn)                                                         \
  extern "C" __attribute__((visibility("default"))) const XPUKernelInfo xpu_kernel_##kernel; \
  const XPUKernelInfo xpu_kernel_##kernel = {                                                \
      #kernel, __FILE__, __LINE__, sdnn, XPU_EMU_CHECKED, xpu_emu::Entry<kernel>::kBytes, xpu_emu::Entry<kernel>::run};
#define XPU_KERNEL(kernel) XPU_EMU_KERNEL(kernel, 0)
#define XPU_LAUNCH(kernel, clusters, cores, stream, ...) \
  xpu_emu::Entry<kernel>::launch(&xpu_kernel_##kernel, clusters, cores, stream, __VA_ARGS__)

#define XPU_LOCAL(T, name, count)                                                         \
  xpu_emu::Local<T> name##_memory(static_cast<size_t>(count), #name, __FILE__, __LINE__); \
  T* const name = name##_memory.get()
#define XPU_SHARED(T, name, count) \
  T* const name = static_cast<T*>(xpu_emu_shared(static_cast<size_t>(count) * sizeof(T), #name, __FILE__, __LINE__))
#define XPU_OPS(count) xpu_emu_ops(count)
#define XPU_TENSOR(pointer, bytes) xpu_emu_tensor(pointer, static_cast<int64_t>(bytes), #pointer)

#define core_id() (xpu_emu_ids()->core)
#define core_num() (xpu_emu_ids()->cores)
#define cluster_id() (xpu_emu_ids()->cluster)
#define cluster_num() (xpu_emu_ids()->clusters)

#define XPU_EMU_DMA(kind, async, from, to, size) xpu_emu_dma(xpu_emu::kind, async, from, to, size, __FILE__, __LINE__)
#define GM2LM(from, to, size) XPU_EMU_DMA(kGM2LM, 0, from, to, size)
#define LM2GM(from, to, size) XPU_EMU_DMA(kLM2GM, 0, from, to, size)
#define GM2SM(from, to, size) XPU_EMU_DMA(kGM2SM, 0, from, to, size)
#define SM2GM(from, to, size) XPU_EMU_DMA(kSM2GM, 0, from, to, size)
#define GM2LM_ASYNC(from, to, size) XPU_EMU_DMA(kGM2LM, 1, from, to, size)
#define LM2GM_ASYNC(from, to, size) XPU_EMU_DMA(kLM2GM, 1, from, to, size)
#define GM2SM_ASYNC(from, to, size) XPU_EMU_DMA(kGM2SM, 1, from, to, size)
#define SM2GM_ASYNC(from, to, size) XPU_EMU_DMA(kSM2GM, 1, from, to, size)
#define mfence() xpu_emu_fence(__FILE__, __LINE__)
#define mfence_lm() xpu_emu_fence(__FILE__, __LINE__)
#define mfence_sm() xpu_emu_fence(__FILE__, __LINE__)
#define sync_cluster() xpu_emu_sync_cluster(__FILE__, __LINE__)
#define xpu_assert(condition) ((condition) ? (void)0 : xpu_emu_fail("assertion failed: " #condition, __FILE__, __LINE__))

// ---- vectors of local memory: 512 bits
typedef float float32x16_t __attribute__((vector_size(64)));
__device__ float32x16_t vload_lm_float32x16(const float* p) {
  float32x16_t v;
  memcpy(&v, p, sizeof(v));
  return v;
}
__device__ void vstore_lm_float32x16(float* p, float32x16_t v) { memcpy(p, &v, sizeof(v)); }
__device__ float32x16_t vset_float32x16(float s) { return s - float32x16_t{}; }
__device__ float32x16_t vvadd_float32x16(float32x16_t a, float32x16_t b) { return a + b; }
__device__ float32x16_t vvsub_float32x16(float32x16_t a, float32x16_t b) { return a - b; }
__device__ float32x16_t vvmul_float32x16(float32x16_t a, float32x16_t b) { return a * b; }
__device__ float32x16_t vvmax_float32x16(float32x16_t a, float32x16_t b) { return a > b ? a : b; }
__device__ float32x16_t vvmin_float32x16(float32x16_t a, float32x16_t b) { return a < b ? a : b; }

#endif  // XPU_KERNEL_XTDK_H_
