// The matrix unit's instructions on the emulator.
//
// On the chip the kernel library programs these units, and nobody else does: this is the emulator's own model of them, which holds what
// matters to the compiler: a buffer of limited size, strided loads from and stores to global memory, products at a peak rate by type.
// A kernel for them (XPU_SDNN_KERNEL) is run once a unit; its loads overlap with its products, as the units' queues do.
#ifndef XPU_KERNEL_SDNN_H_
#define XPU_KERNEL_SDNN_H_

#include "xpu/kernel/xtdk.h"

#define XPU_SDNN_KERNEL(kernel) XPU_EMU_KERNEL(kernel, 1)
#define sdnn_id() (xpu_emu_ids()->cluster)
#define sdnn_num() (xpu_emu_ids()->clusters)

// Operands of a product: floats, or integers that floats were rounded to by a max pointer.
enum SdnnType { SDNN_FLOAT = 0, SDNN_INT16 = 1, SDNN_INT8 = 2, SDNN_FLOAT16 = 3, SDNN_INT31 = 4 };

extern "C" {
// `rows` rows of `size` bytes, `stride` bytes apart in global memory and `pitch` in the unit's buffer.  to / from: of SDNN_BUFFER.
XPU_API void xpu_emu_sdnn_load(void* to, const void* from, int64_t rows, int64_t size, int64_t stride, int64_t pitch, const char* file,
                               int line);
XPU_API void xpu_emu_sdnn_store(const void* from, void* to, int64_t rows, int64_t size, int64_t stride, int64_t pitch, const char* file,
                                int line);
// c[m, n] += a[m, k] · b[k, n], rows of lda, ldb, ldc elements; float32 sums.
XPU_API void xpu_emu_sdnn_product(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb,
                                  int64_t ldc, const char* file, int line);
// The same at the rate of half floats, which the operands are, each in a float.
XPU_API void xpu_emu_sdnn_product_half(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb,
                                       int64_t ldc, const char* file, int line);
// The same on integers with exact int64 sums: c is int64.
XPU_API void xpu_emu_sdnn_product_int(int type, const int16_t* a, const int16_t* b, int64_t* c, int64_t m, int64_t n, int64_t k,
                                      int64_t lda, int64_t ldb, int64_t ldc, const char* file, int line);
// The same on integers of 31 bits at the rate of floats, with sums in double, over p = 0 … k - 1 in this order.
XPU_API void xpu_emu_sdnn_product_int31(const int32_t* a, const int32_t* b, double* c, int64_t m, int64_t n, int64_t k, int64_t lda,
                                        int64_t ldb, int64_t ldc, const char* file, int line);
}

#define SDNN_BUFFER(T, name, count) XPU_LOCAL(T, name, count)
#define SDNN_LOAD(to, from, rows, size, stride, pitch) xpu_emu_sdnn_load(to, from, rows, size, stride, pitch, __FILE__, __LINE__)
#define SDNN_STORE(from, to, rows, size, stride, pitch) xpu_emu_sdnn_store(from, to, rows, size, stride, pitch, __FILE__, __LINE__)
#define SDNN_PRODUCT(a, b, c, m, n, k, lda, ldb, ldc) xpu_emu_sdnn_product(a, b, c, m, n, k, lda, ldb, ldc, __FILE__, __LINE__)
#define SDNN_PRODUCT_HALF(a, b, c, m, n, k, lda, ldb, ldc) \
  xpu_emu_sdnn_product_half(a, b, c, m, n, k, lda, ldb, ldc, __FILE__, __LINE__)
#define SDNN_PRODUCT_INT(type, a, b, c, m, n, k, lda, ldb, ldc) \
  xpu_emu_sdnn_product_int(type, a, b, c, m, n, k, lda, ldb, ldc, __FILE__, __LINE__)
#define SDNN_PRODUCT_INT31(a, b, c, m, n, k, lda, ldb, ldc) \
  xpu_emu_sdnn_product_int31(a, b, c, m, n, k, lda, ldb, ldc, __FILE__, __LINE__)

#endif  // XPU_KERNEL_SDNN_H_
