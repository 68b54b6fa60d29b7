// The kernel library: functions under xdnn names, in the namespace that programs for the chip know.
//
// All pointers are addresses of the device, but for lists of shapes and what is said to be the host's.  Work goes to ctx->xpu_stream
// and is done asynchronously; a function returns SUCCESS, or an Error_t and puts the reason into ctx->error.
//
// Max pointers.  TGEMM says what the matrix units multiply.  For int16_t and int8_t, floats are divided by max / RMAX, rounded (half to
// even) and saturated; x_max and w_max point to max_ptr_size floats of the device whose largest is max (w_max must be given where TW is
// an integer; an x_max of nullptr is found first, by findmax); y_max, where given, gets those of the result, by the kernel that makes it.
// w_columns and scale_max have, in place of w_max, the largest number of each column, or filter.  For float16, operands are rounded to
// half floats and sums are float32.  int32_t is int31: RMAX is 2^30 - 1, floats are scaled and integers summed in double, and what is
// multiplied is each float as a fixed-point number of 31 bits, whose weights are given so.
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

struct float16 {
  uint16_t bits;  // IEEE 754 binary16
};

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
  // The same for functions that call others: they leave it alone.
  void* scratch(int64_t size);
  int set_error(int code, std::string text) {
    error = std::move(text);
    return code;
  }

  XPUStream xpu_stream = nullptr;
  L3Manager _l3_mgr;
  std::string error;

 private:
  int device_, clusters_, cores_, sdnn_, max_ptr_size_;
  void *main_ = nullptr, *scratch_ = nullptr;
  int64_t main_size_ = 0, scratch_size_ = 0;
};

XPU_API Context* create_context();
XPU_API void destroy_context(Context* ctx);

// ---- products.  y[m, n] = act(alpha · x[m, k] · w[k, n] + beta · y + bias[n]); xtrans: x is [k, m]; wtrans: w is [n, k].
// <float, T, float, T> for T float, float16, int16_t, int8_t, int32_t (int31)
template <typename TX, typename TW, typename TY, typename TGEMM>
XPU_API int fc_fusion(Context* ctx, const TX* x, const TW* w, TY* y, int64_t m, int64_t n, int64_t k, bool xtrans, bool wtrans,
                      const float* x_max, const float* w_max, float* y_max, int64_t ldx, int64_t ldw, int64_t ldy, float alpha, float beta,
                      const float* bias, const Activation_t& act, const float* w_columns = nullptr);
// The same for a batch; a stride of 0 elements shares an operand.
template <typename TX, typename TW, typename TY, typename TGEMM>
XPU_API int fc_batched(Context* ctx, int64_t batch, bool xtrans, bool wtrans, int64_t m, int64_t n, int64_t k, float alpha, const TX* x,
                       int64_t stride_x, const TW* w, int64_t stride_w, float beta, TY* y, int64_t stride_y, const float* x_max,
                       const float* w_max);
// y = act(conv(x, filter) + bias + branch): NCHW, filter [f, c / groups, kh, kw], paddings [top, bottom, left, right].
template <typename TX, typename TW, typename TY, typename TGEMM>
XPU_API int conv2d_fusion(Context* ctx, const TX* x, const TW* filter, TY* y, int64_t n, int64_t c, int64_t h, int64_t w, int64_t f,
                          const std::vector<int>& ksize, const std::vector<int>& strides, const std::vector<int>& paddings,
                          const std::vector<int>& dilations, int64_t groups, const float* x_max, const float* filter_max, float* y_max,
                          bool is_nchw, const float* bias, const TY* branch, const Activation_t& act, const float* branch_max,
                          const float* scale_max);
// The same over volumes: NCDHW, filter [f, c / groups, kd, kh, kw], paddings [front, back, top, bottom, left, right]; <float, …> only.
template <typename TX, typename TW, typename TY, typename TGEMM>
XPU_API int conv3d_fusion(Context* ctx, const TX* x, const TW* filter, TY* y, int64_t n, int64_t c, int64_t d, int64_t h, int64_t w,
                          int64_t f, const std::vector<int>& ksize, const std::vector<int>& strides, const std::vector<int>& paddings,
                          const std::vector<int>& dilations, int64_t groups, const float* x_max, const float* filter_max, float* y_max,
                          bool is_ncdhw, const float* bias, const TY* branch, const Activation_t& act);
// y = act(conv_transpose(x, filter) + bias): NCHW, filter [f, kh, kw, c / groups], oh × ow results a plane.
template <typename T>
XPU_API int conv2d_transpose_fusion(Context* ctx, const T* x, const T* filter, T* y, int64_t n, int64_t c, int64_t h, int64_t w, int64_t f,
                                    int64_t oh, int64_t ow, const std::vector<int>& ksize, const std::vector<int>& strides,
                                    const std::vector<int>& paddings, const std::vector<int>& dilations, int64_t groups, const float* bias,
                                    const Activation_t& act);
// x · gate of each channel: act2(w2 · act1(w1 · mean of the channel's plane + b1) + b2); w1 [r, c], w2 [c, r]; biases may be nullptr.
// TW: float, or float16, of which floats are made before they are multiplied.
template <typename T, typename TW = T>
XPU_API int squeeze_excitation_block(Context* ctx, const T* x, const TW* w1, const TW* w2, T* y, int64_t n, int64_t c, int64_t h,
                                     int64_t w, int64_t r, const float* b1, const float* b2, const Activation_t& act1,
                                     const Activation_t& act2);

// ---- attention.  y = softmax(alpha · q · kᵀ + mask) · v for each batch and head.  Strides are in elements: [batch, head, row] of q, k, v
// and y, [batch, head, row, key] of the mask, 0 repeats.  causal: row i sees keys up to i + keys - rows.  kv_heads divides heads.
struct AttentionParam {
  int64_t batch = 1, heads = 1, kv_heads = 1, rows = 0, keys = 0, dim = 0, v_dim = 0;
  int64_t q[3] = {}, k[3] = {}, v[3] = {}, y[3] = {}, mask[4] = {};
  float alpha = 1;
  bool causal = false;
};
// lod: nullptr, or batch + 1 int32_t of the device: sequence b has rows and keys lod[b] … lod[b + 1] of packed tensors (rows, keys: the
// most that one has; batch strides are not used).  Maxima as for products; TGEMM: float, float16, int16_t, int8_t, int32_t.
template <typename T, typename TGEMM>
XPU_API int qkv_attention(Context* ctx, const T* q, const T* k, const T* v, T* y, const AttentionParam& param, const float* mask,
                          const int32_t* lod, const float* q_max, const float* k_max, const float* v_max, float* y_max);

// A layer of an encoder: matrices [inputs, outputs] of TW, their max pointers (as w_columns), biases, scale and shift of two layer_norms.
template <typename TW>
struct EncoderLayer {
  const TW *qkv, *out, *inner, *outer;  // [d, 3d], [d, d], [d, f], [f, d]
  const float *qkv_max, *out_max, *inner_max, *outer_max;
  const float *qkv_bias, *out_bias, *inner_bias, *outer_bias;
  const float *scale1, *shift1, *scale2, *shift2;
};
struct EncoderParam {
  int64_t batch = 1, rows = 0, heads = 1, dim = 0, inner = 0;
  int64_t mask[4] = {};
  float eps1 = 1e-5f, eps2 = 1e-5f, alpha = 1;
  bool pre_norm = false;
  // Rows whose mask is below -1000 are no part of their sequence: nothing is computed for them, and they become 0.
  bool packed = false;
  Activation_t act;
};
// x, y: [batch, rows, dim]; mask: nullptr, or by strides of param.mask; packed: mask [batch, 1, 1, rows].
template <typename T, typename TW>
XPU_API int transformer_encoder(Context* ctx, const T* x, T* y, const std::vector<EncoderLayer<TW>>& layers, const EncoderParam& param,
                                const float* mask, const float* x_max = nullptr, float* y_max = nullptr);

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
XPU_XDNN_UNARY(mish)
XPU_XDNN_UNARY(erf)
XPU_XDNN_UNARY(reciprocal)
XPU_XDNN_UNARY(cos)
XPU_XDNN_UNARY(sin)
XPU_XDNN_UNARY(round)
XPU_XDNN_UNARY(ceil)
XPU_XDNN_UNARY(floor)
#undef XPU_XDNN_UNARY
template <typename T>
XPU_API int leaky_relu(Context* ctx, const T* x, T* y, int64_t len, float alpha);
template <typename T>
XPU_API int hard_sigmoid(Context* ctx, const T* x, T* y, int64_t len, float slope);
template <typename T>
XPU_API int scale(Context* ctx, const T* x, T* y, int64_t len, bool bias_after_scale, float alpha, float beta);
template <typename T>
XPU_API int clip(Context* ctx, const T* x, T* y, int64_t len, T min, T max);

template <typename T>
XPU_API int softplus(Context* ctx, const T* x, T* y, int64_t len, float beta, float threshold);
template <typename T>
XPU_API int elu(Context* ctx, const T* x, T* y, int64_t len, float alpha);
template <typename TX, typename TY>
XPU_API int cast(Context* ctx, const TX* x, TY* y, int64_t len);
template <typename T>
XPU_API int constant(Context* ctx, T* y, int64_t len, T value);
// z = condition ? x : y, each broadcast to zshape
template <typename T>
XPU_API int select(Context* ctx, const bool* condition, const T* x, const T* y, T* z, const std::vector<int64_t>& condition_shape,
                   const std::vector<int64_t>& xshape, const std::vector<int64_t>& yshape, const std::vector<int64_t>& zshape);

#define XPU_XDNN_BROADCAST(name) \
  template <typename T>          \
  XPU_API int name(Context* ctx, const T* x, const T* y, T* z, const std::vector<int64_t>& xshape, const std::vector<int64_t>& yshape);
XPU_XDNN_BROADCAST(broadcast_add)
XPU_XDNN_BROADCAST(broadcast_sub)
XPU_XDNN_BROADCAST(broadcast_mul)
XPU_XDNN_BROADCAST(broadcast_div)
XPU_XDNN_BROADCAST(broadcast_max)
XPU_XDNN_BROADCAST(broadcast_min)
XPU_XDNN_BROADCAST(broadcast_pow)
#undef XPU_XDNN_BROADCAST

// ---- rows
template <typename T>
XPU_API int softmax(Context* ctx, const T* x, T* y, const std::vector<int64_t>& xshape, int axis);
// Of each of m rows of n; mean and var (each m) may be nullptr, as may scale and bias (each n).
template <typename T>
XPU_API int layer_norm(Context* ctx, const T* x, T* y, int64_t m, int64_t n, float eps, const float* scale, const float* bias, float* mean,
                       float* var);
// Of x + other, which sum gets where it is not nullptr; y_max as everywhere.
template <typename T>
XPU_API int add_layer_norm(Context* ctx, const T* x, const T* other, T* y, int64_t m, int64_t n, float eps, const float* scale,
                           const float* bias, T* sum, float* y_max);
// y = x / √(mean of x² + eps) · scale + bias
template <typename T>
XPU_API int rms_layer_norm(Context* ctx, const T* x, const T* other, T* y, int64_t m, int64_t n, float eps, const float* scale,
                           const float* bias, T* sum, float* y_max);
// Over each image's groups of neighbouring channels; then act.  instance_norm: groups of one channel.
template <typename T>
XPU_API int group_norm(Context* ctx, const T* x, T* y, int64_t n, int64_t c, int64_t hw, int64_t groups, float eps, const float* scale,
                       const float* bias, const Activation_t& act);
template <typename T>
XPU_API int instance_norm(Context* ctx, const T* x, T* y, int64_t n, int64_t c, int64_t hw, float eps, const float* scale,
                          const float* bias, const Activation_t& act);
// y = act(x · scale + bias), of each channel: a batch norm whose statistics are known
template <typename T>
XPU_API int batch_norm_infer(Context* ctx, const T* x, T* y, int64_t n, int64_t c, int64_t hw, const float* scale, const float* bias,
                             const Activation_t& act);
// The first place of the largest (smallest) along an axis; NaN is passed over.
template <typename T, typename TI>
XPU_API int argmax(Context* ctx, const T* x, TI* y, const std::vector<int64_t>& xshape, int axis, bool smallest);
template <typename T>
XPU_API int cumsum(Context* ctx, const T* x, T* y, const std::vector<int64_t>& xshape, int axis, bool exclusive);
// Over dims rdims.
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

// Resizing of planes, xh × xw → yh × yw.  trans_mode: corners of the images correspond (0; the nearest element is the rounded one), or
// centres (1), or left upper corners (2) of pixels; scale_h, scale_w: of 1 and 2, where a result's size is not the exact product.
template <typename T>
XPU_API int interpolate2d(Context* ctx, const T* x, T* y, int64_t n, int64_t c, int64_t xh, int64_t xw, int64_t yh, int64_t yw,
                          bool is_nearest, int trans_mode, bool is_nchw, float scale_h = 0, float scale_w = 0);

// ---- moves: of elements of 1, 2, 4 or 8 bytes
template <typename T>
XPU_API int copy(Context* ctx, const T* x, T* y, int64_t len);
template <typename T>
XPU_API int transpose(Context* ctx, const T* x, T* y, const std::vector<int64_t>& xshape, const std::vector<int>& permute);
template <typename T>
XPU_API int concat(Context* ctx, const std::vector<const T*>& xs, T* y, const std::vector<std::vector<int64_t>>& xshapes, int axis);
template <typename T>
XPU_API int split(Context* ctx, const T* x, const std::vector<T*>& ys, const std::vector<int64_t>& xshape,
                  const std::vector<int64_t>& sizes, int axis);
// y of yshape, whose element i lies at start + Σ i · steps in x (0 repeats, negative ones go backwards): slices, expand, flip.
template <typename T>
XPU_API int strided_slice(Context* ctx, const T* x, T* y, const std::vector<int64_t>& yshape, int64_t start,
                          const std::vector<int64_t>& steps);
template <typename T>
XPU_API int pad(Context* ctx, const T* x, T* y, const std::vector<int64_t>& xshape, const std::vector<int64_t>& before,
                const std::vector<int64_t>& after, T value);
// Along an axis by `count` indices, int32_t or int64_t, negative ones from the end; one out of range is a fault
template <typename T, typename TI>
XPU_API int gather(Context* ctx, const T* x, const TI* index, T* y, const std::vector<int64_t>& xshape, int64_t count, int axis);
// Row index[i] of y becomes row i of x; other rows stay
template <typename T>
XPU_API int scatter_rows(Context* ctx, const T* x, const int32_t* index, T* y, int64_t rows, int64_t width, int64_t count);
// gather of rows, zeros where the index is `padding`
template <typename T, typename TI>
XPU_API int embedding(Context* ctx, const T* table, const TI* ids, T* y, int64_t rows, int64_t width, int64_t count, int64_t padding);
// Row t of y: Σ table[ids[t % count of the ids]], and a layer_norm of it where scale or bias is given (at most 8 tables, width ≤ 1024).
template <typename T, typename TI>
XPU_API int multi_embedding_fusion(Context* ctx, const std::vector<const T*>& tables, const std::vector<const TI*>& ids, T* y,
                                   const std::vector<int64_t>& rows, const std::vector<int64_t>& counts, int64_t width, int64_t count,
                                   float eps, const float* scale, const float* bias, float* y_max = nullptr);

}  // namespace api
}  // namespace xpu
}  // namespace baidu
#endif  // XPU_XDNN_H_
