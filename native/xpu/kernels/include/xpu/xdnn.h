// The kernel library: functions under xdnn names, in the namespace that programs for the chip know.
//
// All pointers are addresses of the device, but for lists of shapes and what is said to be the host's.  Work goes to ctx->xpu_stream
// and is done asynchronously; a function returns SUCCESS, or an Error_t and puts the reason into ctx->error.
//
// Max pointers.  TGEMM says what the matrix units multiply.  For int16_t and int8_t, floats are divided by max / RMAX, rounded (half to
// even) and saturated; x_max and w_max point to max_ptr_size floats of the device whose largest is max (w_max must be given where TW is
// an integer; an x_max of nullptr is found first, by findmax); y_max, where given, gets those of the result.
#ifndef XPU_XDNN_H_
#define XPU_XDNN_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "xpu/runtime.h"

namespace baidu {
namespace xpu {
namespace api {

enum Error_t { SUCCESS = 0, INVALID_PARAM = 1, RUNTIME_ERROR = 2, NO_ENOUGH_WORKSPACE = 3, NOT_IMPLEMENT = 4 };

struct XPU_API Activation_t {
  enum act_enum { LINEAR = 0, RELU, SIGMOID, TANH, GELU, SWISH, HARD_SWISH, HARD_SIGMOID, RELU6, LEAKY_RELU };
  act_enum type = LINEAR;
  float alpha = 0;  // LEAKY_RELU: the slope below 0; HARD_SIGMOID: the slope, which has 0.5 at 0
  Activation_t() = default;
  Activation_t(act_enum type, float alpha = 0) : type(type), alpha(alpha) {}  // NOLINT: as the chip's own is used
};

// Fast memory that the library may use for what it needs itself.
class XPU_API L3Manager {
 public:
  int set(void* memory, int64_t size);  // nullptr: none
  void* memory() const { return memory_; }
  int64_t size() const { return size_; }

 private:
  void* memory_ = nullptr;
  int64_t size_ = 0;
};

class XPU_API Context {
 public:
  Context();
  ~Context();
  Context(const Context&) = delete;
  int dev() const { return device_; }
  int ncluster() const { return clusters_; }
  int ncore() const { return cores_; }
  int nsdnn() const { return sdnn_; }
  int max_ptr_size() const { return max_ptr_size_; }
  void xpu_wait();
  // Work space of the device that stays until the next call: in L3 where it fits, else in main memory.  nullptr: there is none.
  void* workspace(int64_t size);
  int set_error(int code, std::string text) {
    error = std::move(text);
    return code;
  }

  XPUStream xpu_stream = nullptr;
  L3Manager _l3_mgr;
  std::string error;

 private:
  int device_, clusters_, cores_, sdnn_, max_ptr_size_;
  void* main_ = nullptr;
  int64_t main_size_ = 0;
};

XPU_API Context* create_context();
XPU_API void destroy_context(Context* ctx);

// ---- products.  y[m, n] = act(alpha · x[m, k] · w[k, n] + beta · y + bias[n]); xtrans: x is [k, m]; wtrans: w is [n, k].
// <float, float, float, float>, <float, int16_t, float, int16_t>, <float, int8_t, float, int8_t>
template <typename TX, typename TW, typename TY, typename TGEMM>
XPU_API int fc_fusion(Context* ctx, const TX* x, const TW* w, TY* y, int64_t m, int64_t n, int64_t k, bool xtrans, bool wtrans,
                      const float* x_max, const float* w_max, float* y_max, int64_t ldx, int64_t ldw, int64_t ldy, float alpha, float beta,
                      const float* bias, const Activation_t& act);
// The same for a batch; a stride of 0 elements shares an operand.
template <typename TX, typename TW, typename TY, typename TGEMM>
XPU_API int fc_batched(Context* ctx, int64_t batch, bool xtrans, bool wtrans, int64_t m, int64_t n, int64_t k, float alpha, const TX* x,
                       int64_t stride_x, const TW* w, int64_t stride_w, float beta, TY* y, int64_t stride_y, const float* x_max,
                       const float* w_max);
// y = act(conv(x, filter) + bias + branch): NCHW, filter [f, c / groups, kh, kw], paddings [top, bottom, left, right]; scales: nullptr.
template <typename TX, typename TW, typename TY, typename TGEMM>
XPU_API int conv2d_fusion(Context* ctx, const TX* x, const TW* filter, TY* y, int64_t n, int64_t c, int64_t h, int64_t w, int64_t f,
                          const std::vector<int>& ksize, const std::vector<int>& strides, const std::vector<int>& paddings,
                          const std::vector<int>& dilations, int64_t groups, const float* x_max, const float* filter_max, float* y_max,
                          bool is_nchw, const float* bias, const TY* branch, const Activation_t& act, const float* branch_max,
                          const float* scale_max);

// ---- max pointers
template <typename T>
XPU_API int findmax(Context* ctx, const T* x, float* max, int64_t len);
// y = round(x · RMAX / max); TY: int16_t, int8_t
template <typename TX, typename TY>
XPU_API int quantization(Context* ctx, const TX* x, TY* y, int64_t len, const float* max);

// ---- elements.  alpha, beta of each: see Activation_t; scale: x · alpha + beta
#define XPU_XDNN_UNARY(name) \
  template <typename T>      \
  XPU_API int name(Context* ctx, const T* x, T* y, int64_t len);
XPU_XDNN_UNARY(relu)
XPU_XDNN_UNARY(relu6)
XPU_XDNN_UNARY(sigmoid)
XPU_XDNN_UNARY(tanh)
XPU_XDNN_UNARY(gelu)
XPU_XDNN_UNARY(swish)
XPU_XDNN_UNARY(hard_swish)
XPU_XDNN_UNARY(exp)
XPU_XDNN_UNARY(log)
XPU_XDNN_UNARY(sqrt)
XPU_XDNN_UNARY(rsqrt)
XPU_XDNN_UNARY(square)
XPU_XDNN_UNARY(abs)
XPU_XDNN_UNARY(neg)
#undef XPU_XDNN_UNARY
template <typename T>
XPU_API int leaky_relu(Context* ctx, const T* x, T* y, int64_t len, float alpha);
template <typename T>
XPU_API int hard_sigmoid(Context* ctx, const T* x, T* y, int64_t len, float slope);
template <typename T>
XPU_API int scale(Context* ctx, const T* x, T* y, int64_t len, bool bias_after_scale, float alpha, float beta);
template <typename T>
XPU_API int clip(Context* ctx, const T* x, T* y, int64_t len, T min, T max);

#define XPU_XDNN_BROADCAST(name) \
  template <typename T>          \
  XPU_API int name(Context* ctx, const T* x, const T* y, T* z, const std::vector<int64_t>& xshape, const std::vector<int64_t>& yshape);
XPU_XDNN_BROADCAST(broadcast_add)
XPU_XDNN_BROADCAST(broadcast_sub)
XPU_XDNN_BROADCAST(broadcast_mul)
XPU_XDNN_BROADCAST(broadcast_div)
XPU_XDNN_BROADCAST(broadcast_max)
XPU_XDNN_BROADCAST(broadcast_min)
#undef XPU_XDNN_BROADCAST

// ---- rows
template <typename T>
XPU_API int softmax(Context* ctx, const T* x, T* y, const std::vector<int64_t>& xshape, int axis);
// Of each of m rows of n; mean and var (each m) may be nullptr, as may scale and bias (each n).
template <typename T>
XPU_API int layer_norm(Context* ctx, const T* x, T* y, int64_t m, int64_t n, float eps, const float* scale, const float* bias, float* mean,
                       float* var);
// Over neighbouring dims rdims.
#define XPU_XDNN_REDUCE(name) \
  template <typename T>       \
  XPU_API int name(Context* ctx, const T* x, T* y, const std::vector<int64_t>& xshape, const std::vector<int>& rdims);
XPU_XDNN_REDUCE(reduce_sum)
XPU_XDNN_REDUCE(reduce_mean)
XPU_XDNN_REDUCE(reduce_max)
XPU_XDNN_REDUCE(reduce_min)
#undef XPU_XDNN_REDUCE

// ---- windows: NCHW, padding [top, bottom, left, right]; oh × ow results a plane
template <typename T>
XPU_API int max_pool2d(Context* ctx, const T* x, T* y, int* index, int64_t n, int64_t c, int64_t h, int64_t w, int64_t oh, int64_t ow,
                       const std::vector<int>& ksize, const std::vector<int>& strides, const std::vector<int>& paddings, bool is_nchw);
template <typename T>
XPU_API int avg_pool2d(Context* ctx, const T* x, T* y, int64_t n, int64_t c, int64_t h, int64_t w, int64_t oh, int64_t ow,
                       const std::vector<int>& ksize, const std::vector<int>& strides, const std::vector<int>& paddings,
                       bool count_include_pad, bool is_nchw);

// ---- moves: of elements of 1, 2, 4 or 8 bytes
template <typename T>
XPU_API int copy(Context* ctx, const T* x, T* y, int64_t len);
template <typename T>
XPU_API int transpose(Context* ctx, const T* x, T* y, const std::vector<int64_t>& xshape, const std::vector<int>& permute);
template <typename T>
XPU_API int concat(Context* ctx, const std::vector<const T*>& xs, T* y, const std::vector<std::vector<int64_t>>& xshapes, int axis);
// y[i, :] = x[index[i], :]: x is [rows, width]; index int32_t or int64_t, negative ones from the end; one out of range is a fault
template <typename T, typename TI>
XPU_API int gather(Context* ctx, const T* x, const TI* index, T* y, int64_t rows, int64_t width, int64_t count);

}  // namespace api
}  // namespace xpu
}  // namespace baidu
#endif  // XPU_XDNN_H_
