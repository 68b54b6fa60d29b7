// Layers of encoders: seven launches each, and none of it for rows that are padding where sequences are packed.
#include "numbers.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kMostSequences = 4096;
constexpr float kPadding = -1000;  // what a mask is below for rows that are padding
constexpr int kPart = 512;

// rows[i]: the i-th row that is no padding, of all sequences; ends[b]: how many there are before sequence b.
__global__ void find_rows(_global_ptr_ const float* mask, int64_t step, int32_t batch, int32_t length, _global_ptr_ int32_t* rows,
                          _global_ptr_ int32_t* ends) {
  XPU_SHARED(int32_t, counts, kMostSequences + 1);
  XPU_LOCAL(float, lm, kPart);
  XPU_LOCAL(int32_t, found, kPart);
  auto each = [&](int b, auto f) {
    for (int at = 0; at < length; at += kPart) {
      const int n = length - at < kPart ? length - at : kPart;
      GM2LM(mask + b * step + at, lm, n * sizeof(float));
      f(at, n);
    }
  };
  for (int b = core_id(); b < batch; b += core_num()) {
    int count = 0;
    each(b, [&](int, int n) {
      for (int i = 0; i < n; ++i) count += lm[i] >= kPadding;
      XPU_OPS(2 * n);
    });
    counts[b + 1] = count;
  }
  sync_cluster();
  if (core_id() == 0) {
    counts[0] = 0;
    for (int b = 0; b < batch; ++b) counts[b + 1] += counts[b];
    SM2GM(counts, ends, (batch + 1) * sizeof(int32_t));
    XPU_OPS(batch);
  }
  sync_cluster();
  for (int b = core_id(); b < batch; b += core_num()) {
    int32_t to = counts[b];
    each(b, [&](int at, int n) {
      int many = 0;
      for (int i = 0; i < n; ++i)
        if (lm[i] >= kPadding) found[many++] = b * length + at + i;
      if (many) LM2GM(found, rows + to, many * sizeof(int32_t));
      to += many;
      XPU_OPS(2 * n);
    });
  }
}
XPU_KERNEL(find_rows)

// Parts of scratch memory, one behind the other.
struct Parts {
  char* at;
  template <typename T>
  T* take(int64_t count) {
    T* part = reinterpret_cast<T*>(at);
    at += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return part;
  }
};

template <typename TW>
class Encoder {
 public:
  Encoder(Context* ctx, const EncoderParam& p, const float* mask, int64_t rows, const int32_t* lod, Parts parts)
      : ctx_(ctx), p_(p), mask_(mask), lod_(lod), n_(rows) {
    const int64_t d = p.dim;
    qkv_ = parts.take<float>(n_ * 3 * d);
    mixed_ = parts.take<float>(n_ * d);
    step_ = parts.take<float>(n_ * d);
    normed_ = parts.take<float>(n_ * d);
    sum_ = parts.take<float>(n_ * d);
    inner_ = parts.take<float>(n_ * p.inner);
    for (float*& max : maxima_) max = parts.take<float>(kMaxPtr);
  }
  static int64_t bytes(const EncoderParam& p, int64_t rows) { return (rows * (7 * p.dim + p.inner) + 16 * kMaxPtr) * 4 + 64 * 16; }

  int run(const float* x, float* y, const std::vector<EncoderLayer<TW>>& layers, const float* x_max, float* y_max) {
    int status = SUCCESS;
    for (size_t i = 0; i < layers.size() && status == SUCCESS; ++i) {
      const bool last = i + 1 == layers.size();
      const float* from = i ? sum_ : x;
      float* to = last ? y : sum_;
      if (p_.pre_norm) {
        status = pre_norm(from, to, layers[i]);
      } else {
        status = post_norm(from, i ? max(X) : x_max, to, last ? y_max : max(X), layers[i]);
      }
    }
    return status == SUCCESS && y_max && p_.pre_norm ? findmax<float>(ctx_, y, y_max, n_ * p_.dim) : status;
  }

 private:
  static constexpr bool kScaled = Number<TW>::kScaled;
  enum { X, QKV, MIXED, NORMED, INNER, COUNT };
  float* max(int which) { return kScaled ? maxima_[which] : nullptr; }

  int fc(const float* x, const float* x_max, const TW* w, const float* w_max, float* y, float* y_max, int64_t n, int64_t k,
         const float* bias, const Activation_t& act) {
    return fc_fusion<float, TW, float, TW>(ctx_, x, w, y, n_, n, k, false, false, x_max, w_max, y_max, k, n, n, 1, 0, bias, act, w_max);
  }

  int attention(const float* x, const float* x_max, const EncoderLayer<TW>& l) {
    const int64_t d = p_.dim, rows = p_.rows;
    int status = fc(x, x_max, l.qkv, l.qkv_max, qkv_, max(QKV), 3 * d, d, l.qkv_bias, {});
    if (status != SUCCESS) return status;
    AttentionParam a;
    a.batch = p_.batch, a.heads = a.kv_heads = p_.heads, a.rows = a.keys = rows, a.dim = a.v_dim = d / p_.heads, a.alpha = p_.alpha;
    for (int64_t* s : {a.q, a.k, a.v}) s[0] = rows * 3 * d, s[1] = d / p_.heads, s[2] = 3 * d;
    a.y[0] = rows * d, a.y[1] = d / p_.heads, a.y[2] = d;
    std::copy(p_.mask, p_.mask + 4, a.mask);
    status = qkv_attention<float, TW>(ctx_, qkv_, qkv_ + d, qkv_ + 2 * d, mixed_, a, lod_ ? nullptr : mask_, lod_, max(QKV), max(QKV),
                                      max(QKV), max(MIXED));
    if (status != SUCCESS) return status;
    return fc(mixed_, max(MIXED), l.out, l.out_max, step_, nullptr, d, d, l.out_bias, {});
  }

  int post_norm(const float* x, const float* x_max, float* y, float* y_max, const EncoderLayer<TW>& l) {
    const int64_t d = p_.dim;
    int status = attention(x, x_max, l);
    if (status == SUCCESS)
      status = add_layer_norm<float>(ctx_, x, step_, normed_, n_, d, p_.eps1, l.scale1, l.shift1, nullptr, max(NORMED));
    if (status == SUCCESS) status = fc(normed_, max(NORMED), l.inner, l.inner_max, inner_, max(INNER), p_.inner, d, l.inner_bias, p_.act);
    if (status == SUCCESS) status = fc(inner_, max(INNER), l.outer, l.outer_max, step_, nullptr, d, p_.inner, l.outer_bias, {});
    if (status == SUCCESS) status = add_layer_norm<float>(ctx_, normed_, step_, y, n_, d, p_.eps2, l.scale2, l.shift2, nullptr, y_max);
    return status;
  }

  int pre_norm(const float* x, float* y, const EncoderLayer<TW>& l) {
    const int64_t d = p_.dim;
    int status = add_layer_norm<float>(ctx_, x, nullptr, normed_, n_, d, p_.eps1, l.scale1, l.shift1, nullptr, max(X));
    if (status == SUCCESS) status = attention(normed_, max(X), l);
    if (status == SUCCESS)
      status = add_layer_norm<float>(ctx_, x, step_, normed_, n_, d, p_.eps2, l.scale2, l.shift2, sum_, max(NORMED));
    if (status == SUCCESS) status = fc(normed_, max(NORMED), l.inner, l.inner_max, inner_, max(INNER), p_.inner, d, l.inner_bias, p_.act);
    if (status == SUCCESS) status = fc(inner_, max(INNER), l.outer, l.outer_max, step_, nullptr, d, p_.inner, l.outer_bias, {});
    if (status == SUCCESS) status = broadcast_add<float>(ctx_, sum_, step_, y, {n_, d}, {n_, d});
    return status;
  }

  Context* ctx_;
  const EncoderParam& p_;
  const float* mask_;
  const int32_t* lod_;
  int64_t n_;
  float *qkv_, *mixed_, *step_, *normed_, *sum_, *inner_, *maxima_[COUNT];
};

template <typename TW>
int packed(Context* ctx, const float* x, float* y, const std::vector<EncoderLayer<TW>>& layers, const EncoderParam& p, const float* mask,
           const float* x_max, float* y_max) {
  auto runtime = [&](int status) { return launched(ctx, "transformer_encoder", status); };
  const int64_t all = p.batch * p.rows, d = p.dim;
  const int64_t tables = (all + p.batch + 1) * 4 + 256;
  // the rows that there are decide what more is needed, and can only be as many as all
  char* memory = static_cast<char*>(ctx->scratch(tables + all * d * 8 + 256 + Encoder<TW>::bytes(p, all)));
  if (!memory) return ctx->set_error(NO_ENOUGH_WORKSPACE, std::string("transformer_encoder: ") + xpu_last_error_text());
  Parts parts{memory};
  int32_t* rows = parts.take<int32_t>(all);
  int32_t* ends = parts.take<int32_t>(p.batch + 1);
  int status = runtime(XPU_LAUNCH(find_rows, 1, ctx->ncore(), ctx->xpu_stream, mask, p.mask[0], static_cast<int32_t>(p.batch),
                                  static_cast<int32_t>(p.rows), rows, ends));
  if (status != SUCCESS) return status;
  ctx->xpu_wait();  // how many rows there are decides what is launched
  std::vector<int32_t> lod(p.batch + 1);
  status = runtime(xpu_memcpy(lod.data(), ends, lod.size() * sizeof(int32_t), XPU_DEVICE_TO_HOST));
  if (status != SUCCESS) return status;
  const int64_t n = lod.back();
  status = constant<float>(ctx, y, all * d, 0);
  if (status == SUCCESS && !n && y_max) status = findmax<float>(ctx, y, y_max, 0);
  if (status != SUCCESS || !n) return status;
  float *in = parts.take<float>(n * d), *out = parts.take<float>(n * d);
  status = gather<float, int32_t>(ctx, x, rows, in, {all, d}, n, 0);
  EncoderParam inner = p;
  inner.rows = 0;
  for (int64_t b = 0; b < p.batch; ++b) inner.rows = std::max<int64_t>(inner.rows, lod[b + 1] - lod[b]);
  if (status == SUCCESS) status = Encoder<TW>(ctx, inner, nullptr, n, ends, parts).run(in, out, layers, x_max, y_max);
  return status == SUCCESS ? scatter_rows<float>(ctx, out, rows, y, all, d, n) : status;
}

template <typename TW>
int run(Context* ctx, const float* x, float* y, const std::vector<EncoderLayer<TW>>& layers, const EncoderParam& p, const float* mask,
        const float* x_max, float* y_max) {
  auto wrong = [&](const char* why) { return ctx->set_error(INVALID_PARAM, std::string("transformer_encoder: ") + why); };
  if (p.batch < 0 || p.rows < 0 || p.heads < 1 || p.dim < 1 || p.dim % p.heads || p.inner < 1 || layers.empty()) return wrong("a size");
  if (p.packed && (!mask || p.batch > kMostSequences || p.batch * p.rows > INT32_MAX)) return wrong("packing needs a mask, or the batch");
  if (!p.batch || !p.rows) return SUCCESS;
  if (!x || !y) return wrong("no data");
  if (p.packed) return packed<TW>(ctx, x, y, layers, p, mask, x_max, y_max);
  char* memory = static_cast<char*>(ctx->scratch(Encoder<TW>::bytes(p, p.batch * p.rows)));
  if (!memory) return ctx->set_error(NO_ENOUGH_WORKSPACE, std::string("transformer_encoder: ") + xpu_last_error_text());
  return Encoder<TW>(ctx, p, mask, p.batch * p.rows, nullptr, Parts{memory}).run(x, y, layers, x_max, y_max);
}
}  // namespace

#define XPU_DEFINE_ENCODER(TW)                                                                                              \
  template <>                                                                                                               \
  XPU_API int transformer_encoder<float, TW>(Context * ctx, const float* x, float* y,                                       \
                                             const std::vector<EncoderLayer<TW>>& layers, const EncoderParam& p,            \
                                             const float* mask, const float* x_max, float* y_max) {                         \
    return run<TW>(ctx, x, y, layers, p, mask, x_max, y_max);                                                               \
  }
XPU_DEFINE_ENCODER(float)
XPU_DEFINE_ENCODER(float16)
XPU_DEFINE_ENCODER(int16_t)
XPU_DEFINE_ENCODER(int8_t)
XPU_DEFINE_ENCODER(int32_t)

}  // namespace api
}  // namespace xpu
}  // namespace baidu
