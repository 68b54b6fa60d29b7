// The matrix units: strided loads and stores, and products.
#include "xpu/kernel/sdnn.h"

#include <string.h>

#include <algorithm>
#include <cmath>

#include "core.h"

namespace xpu_sim {
namespace {
typedef float Vector __attribute__((vector_size(64)));
constexpr int kLanes = 16;
#ifdef __AVX512F__
constexpr int kRows = 8, kColumns = 2;  // vectors of sums in registers
#else
constexpr int kRows = 6, kColumns = 1;
#endif

Vector load(const float* p, int64_t n) {
  Vector v = {};
  memcpy(&v, p, sizeof(float) * std::min<int64_t>(n, kLanes));
  return v;
}
Vector load(const float* p) {
  Vector v;
  memcpy(&v, p, sizeof(v));
  return v;
}

template <int rows, int columns>
void block(const float* a, const float* b, float* c, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc) {
  Vector sums[rows][columns] = {};
  const bool whole = n == columns * kLanes;
  for (int64_t p = 0; p < k; ++p) {
    Vector right[columns];
    for (int j = 0; j < columns; ++j) right[j] = whole ? load(b + p * ldb + j * kLanes) : load(b + p * ldb, n);
    for (int i = 0; i < rows; ++i) {
      const Vector left = a[i * lda + p] - Vector{};
      for (int j = 0; j < columns; ++j) sums[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      const int64_t size = sizeof(float) * std::min<int64_t>(n - j * kLanes, kLanes);
      Vector v = {};
      memcpy(&v, c + i * ldc + j * kLanes, size);
      v += sums[i][j];
      memcpy(c + i * ldc + j * kLanes, &v, size);
    }
  }
}

template <int columns>
void rows_of(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc) {
  int64_t i = 0;
  for (; i + kRows <= m; i += kRows) block<kRows, columns>(a + i * lda, b, c + i * ldc, n, k, lda, ldb, ldc);
  for (; i + 2 <= m; i += 2) block<2, columns>(a + i * lda, b, c + i * ldc, n, k, lda, ldb, ldc);
  if (i < m) block<1, columns>(a + i * lda, b, c + i * ldc, n, k, lda, ldb, ldc);
}

const Buffer* buffer_of(const Core& core, const void* address) {
  for (const Buffer& b : core.locals)
    if (address >= b.address && address < b.address + b.size) return &b;
  return nullptr;
}

// rows × size bytes, pitch apart, must lie in one buffer.
void check_buffer(const Core& core, const void* address, int64_t rows, int64_t size, int64_t pitch, const char* what, const Place& place) {
  const Buffer* b = buffer_of(core, address);
  const int64_t needed = rows ? (rows - 1) * pitch + size : 0;
  if (b && b->covers(static_cast<const char*>(address), needed)) return;
  kernel_fault(format("%s at %s: %lld rows of %lld bytes, %lld bytes apart, %s", what, at(place).c_str(), (long long)rows, (long long)size,
                      (long long)pitch,
                      b ? format("leave buffer '%s' (%s), which has %lld bytes", b->name, at(b->place).c_str(), (long long)b->size).c_str()
                        : "are in no buffer that the kernel declared"));
}

Core& unit(const char* what, const char* file, int line) {
  Core& core = core_or_abort(what, file, line);
  if (!running->launch->kernel->is_sdnn)
    kernel_fault(format("%s at %s is for matrix units: use XPU_SDNN_KERNEL", what, at({file, line}).c_str()));
  return core;
}

void move(bool in, void* local, const void* address, int64_t rows, int64_t size, int64_t stride, int64_t pitch, const Place& place) {
  const char* what = in ? "SDNN_LOAD" : "SDNN_STORE";
  Core& core = unit(what, place.file, place.line);
  if (rows < 0 || size < 0 || stride < 0 || pitch < size)
    kernel_fault(format("%s at %s: a negative size, or a pitch below the size", what, at(place).c_str()));
  if (!rows || !size) return;
  check_buffer(core, local, rows, size, pitch, what, place);
  const int64_t span = (rows - 1) * stride + size;
  std::string why;
  char* global = reach(address, span, !in, &why);
  if (!global) kernel_fault(format("%s at %s: %s", what, at(place).c_str(), why.c_str()));
  for (int64_t r = 0; r < rows; ++r) {
    char* here = static_cast<char*>(local) + r * pitch;
    if (!is_dry()) in ? memcpy(here, global + r * stride, size) : memcpy(global + r * stride, here, size);
  }
  KernelCounters& c = running->counters;
  Device& device = *running->launch->device;
  const bool l3 = device.l3.has(address);
  const int64_t bytes = std::llround(rows * size * device.of(address)->near(address)->factor);
  ++c.dma;
  (l3 ? in ? c.l3_read : c.l3_written : in ? c.gm_read : c.gm_written) += bytes;
  core.dma_free += bytes / (l3 ? running->core_bytes_ns_l3 : running->core_bytes_ns_gm);
}

void count_macs(Core& core, int64_t macs, int type) {
  const Chip& chip = *running->launch->device->chip;
  if (type == SDNN_FLOAT && supposed_operands() < 4) type = supposed_operands() == 2 ? SDNN_INT16 : SDNN_INT8;
  // half floats are as wide as int16, and as fast (R200: 128 TFLOPS)
  const double peak = type == SDNN_INT8 ? chip.i8 : type == SDNN_INT16 || type == SDNN_FLOAT16 ? chip.i16 : chip.f32;
  running->counters.macs += macs;
  core.now += macs * chip.sdnn / (peak * chip.mac_part * 1e3);
}

// Checks and counts the product a · b; whether there is anything to compute.
template <typename In, typename Out>
bool begin_product(const char* what, int type, const In* a, const In* b, const Out* c, int64_t m, int64_t n, int64_t k, int64_t lda,
                   int64_t ldb, int64_t ldc, const Place& place) {
  Core& core = unit(what, place.file, place.line);
  if (m <= 0 || n <= 0 || k <= 0) return false;
  check_buffer(core, a, m, k * sizeof(In), lda * sizeof(In), what, place);
  check_buffer(core, b, k, n * sizeof(In), ldb * sizeof(In), what, place);
  check_buffer(core, c, m, n * sizeof(Out), ldc * sizeof(Out), what, place);
  count_macs(core, m * n * k, type);
  return !is_dry();
}

void product(int type, const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc,
             const Place& place) {
  const char* what = type == SDNN_FLOAT16 ? "SDNN_PRODUCT_HALF" : "SDNN_PRODUCT";
  if (!begin_product(what, type, a, b, c, m, n, k, lda, ldb, ldc, place)) return;
  int64_t j = 0;
  for (; j + kColumns * kLanes <= n; j += kColumns * kLanes) rows_of<kColumns>(a, b + j, c + j, m, kColumns * kLanes, k, lda, ldb, ldc);
  for (; j < n; j += kLanes) rows_of<1>(a, b + j, c + j, m, std::min<int64_t>(kLanes, n - j), k, lda, ldb, ldc);
}

// Of fixed-point numbers; each product of two is taken as Wide.
template <typename Wide, typename In, typename Out>
void product_fixed(const char* what, int type, const In* a, const In* b, Out* c, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb,
                   int64_t ldc, const Place& place) {
  if (!begin_product(what, type, a, b, c, m, n, k, lda, ldb, ldc, place)) return;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t p = 0; p < k; ++p) {
      const Wide left = a[i * lda + p];
      if (left)
        for (int64_t j = 0; j < n; ++j) c[i * ldc + j] += left * static_cast<Wide>(b[p * ldb + j]);
    }
}
}  // namespace
}  // namespace xpu_sim

using namespace xpu_sim;

extern "C" {
void xpu_emu_sdnn_load(void* to, const void* from, int64_t rows, int64_t size, int64_t stride, int64_t pitch, const char* file, int line) {
  move(true, to, from, rows, size, stride, pitch, {file, line});
}

void xpu_emu_sdnn_store(const void* from, void* to, int64_t rows, int64_t size, int64_t stride, int64_t pitch, const char* file, int line) {
  move(false, const_cast<void*>(from), to, rows, size, stride, pitch, {file, line});
}

void xpu_emu_sdnn_product(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc,
                          const char* file, int line) {
  product(SDNN_FLOAT, a, b, c, m, n, k, lda, ldb, ldc, {file, line});
}

void xpu_emu_sdnn_product_half(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb,
                               int64_t ldc, const char* file, int line) {
  product(SDNN_FLOAT16, a, b, c, m, n, k, lda, ldb, ldc, {file, line});
}

void xpu_emu_sdnn_product_int(int type, const int16_t* a, const int16_t* b, int64_t* c, int64_t m, int64_t n, int64_t k, int64_t lda,
                              int64_t ldb, int64_t ldc, const char* file, int line) {
  product_fixed<int32_t>("SDNN_PRODUCT_INT", type, a, b, c, m, n, k, lda, ldb, ldc, {file, line});
}

void xpu_emu_sdnn_product_int31(const int32_t* a, const int32_t* b, double* c, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb,
                                int64_t ldc, const char* file, int line) {
  product_fixed<double>("SDNN_PRODUCT_INT31", SDNN_INT31, a, b, c, m, n, k, lda, ldb, ldc, {file, line});
}
}
