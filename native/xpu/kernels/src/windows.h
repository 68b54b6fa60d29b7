// What pooling and depthwise convolutions share: the rows of a plane under a row of windows.
#ifndef XPU_KERNELS_WINDOWS_H_
#define XPU_KERNELS_WINDOWS_H_

#include "device.h"

namespace baidu {
namespace xpu {
namespace api {

struct Window {
  int64_t planes, channels;  // planes: n · channels
  int64_t h, w, oh, ow;
  int kh, kw, sh, sw, top, left, dh, dw;
};

constexpr int kLine = 1024;  // floats of an input row that a core holds
constexpr int kOut = 512;    // results of a core at a time

// How many windows of a row one line holds.
__device__ int windows_of_line(const Window& v) {
  const int64_t most = (kLine - static_cast<int64_t>(v.kw - 1) * v.dw - 1) / v.sw + 1;
  return static_cast<int>(most < kOut ? most : kOut);
}

// Calls line(row, ih, from, first, size) for each input row under results [at, at + n) of a row: `row` is the row of the window, `line`
// then has the input from column `from` on, `size` of them, and window 0 begins at column first (which padding may put before `from`).
template <typename F>
__device__ void for_lines(const Window& v, const float* plane, int64_t oy, int64_t at, int n, float* lm, F line) {
  const int64_t first = at * v.sw - v.left, end = first + static_cast<int64_t>(n - 1) * v.sw + static_cast<int64_t>(v.kw - 1) * v.dw + 1;
  const int64_t from = first < 0 ? 0 : first, to = end > v.w ? v.w : end;
  for (int r = 0; r < v.kh; ++r) {
    const int64_t y = oy * v.sh - v.top + static_cast<int64_t>(r) * v.dh;
    if (y < 0 || y >= v.h || from >= to) continue;
    GM2LM(plane + y * v.w + from, lm, (to - from) * sizeof(float));
    line(r, from, first, static_cast<int>(to - from));
  }
}

// The windows [lo, hi) of n whose column c of the window lies in the line.
__device__ void inside(const Window& v, int64_t first, int64_t from, int size, int c, int n, int* lo, int* hi) {
  const int64_t start = first + static_cast<int64_t>(c) * v.dw;  // of window 0
  int64_t low = start >= from ? 0 : (from - start + v.sw - 1) / v.sw;
  int64_t high = from + size <= start ? 0 : (from + size - 1 - start) / v.sw + 1;
  *lo = static_cast<int>(low);
  *hi = static_cast<int>(high < n ? high : n);
}

inline bool good_window(const Window& v) {
  return v.planes >= 0 && v.h > 0 && v.w > 0 && v.oh >= 0 && v.ow >= 0 && v.kh > 0 && v.kw > 0 && v.sh > 0 && v.sw > 0 && v.dh > 0 &&
         v.dw > 0 && v.top >= 0 && v.left >= 0 && static_cast<int64_t>(v.kw - 1) * v.dw < kLine && v.sw <= kLine;
}

inline int64_t pieces_of(const Window& v) { return v.planes * v.oh; }

int depthwise(Context* ctx, const Window& window, const float* x, const float* filter, int multiplier, const float* bias,
              const float* branch, const Activation_t& act, float* y, float* y_max);

}  // namespace api
}  // namespace xpu
}  // namespace baidu
#endif  // XPU_KERNELS_WINDOWS_H_
