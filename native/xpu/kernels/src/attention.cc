// Attention on the matrix units: a unit takes rows of queries of one head, and goes over blocks of keys with a running softmax.
#include "numbers.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kRows = 64, kKeys = 128, kWide = 256;  // queries and keys of a tile; the widest head
constexpr int kSoftmax = 12;                         // operations of an element between the products
constexpr int kUnitLanes = 16;                       // a unit's part for elements is as wide as so many cores (assumed)

struct Attention {
  AttentionParam p;
  int max_ptr;
};

template <typename G>
__device__ void round_rows(const float* from, typename Number<G>::Element* to, int64_t n, Scale<G> factor) {
  for (int64_t i = 0; i < n; ++i) to[i] = rounded<G>(from[i], factor);
}

template <typename G>
__device__ void attend(const Attention& a, const float* q, const float* k, const float* v, float* y, const float* mask, const int32_t* lod,
                       const float* q_max, const float* k_max, const float* v_max, float* y_max) {
  using Element = typename Number<G>::Element;
  using Sum = typename Number<G>::Sum;
  SDNN_BUFFER(float, stage, kKeys* kWide);
  SDNN_BUFFER(Element, queries, kRows* kWide);
  SDNN_BUFFER(Element, keys, kWide* kKeys);
  SDNN_BUFFER(Element, values, kKeys* kWide);
  SDNN_BUFFER(Element, shares, kRows* kKeys);
  SDNN_BUFFER(Sum, sums, kRows* kWide);
  SDNN_BUFFER(float, out, kRows* kWide);
  SDNN_BUFFER(float, masks, kRows* kKeys);
  SDNN_BUFFER(float, stats, 3 * kRows);
  SDNN_BUFFER(int32_t, ends, 2);
  const AttentionParam& p = a.p;
  float *top = stats, *total = stats + kRows, *small = stats + 2 * kRows, found = 0;
  Scale<G> q_factor = 1, k_factor = 1, v_factor = 1, share_factor = 1, score_scale = p.alpha, value_scale = 1;
  if constexpr (Number<G>::kScaled) {
    constexpr Scale<G> most = Number<G>::kMax;
    const float of_q = largest(q_max, a.max_ptr, small), of_k = largest(k_max, a.max_ptr, small), of_v = largest(v_max, a.max_ptr, small);
    q_factor = factor_of<G>(of_q);
    k_factor = factor_of<G>(of_k);
    v_factor = factor_of<G>(of_v);
    share_factor = most;  // shares are at most 1
    score_scale *= of_q / most * (of_k / most);
    value_scale = of_v / most / most;
  }
  const int64_t tiles = (p.rows + kRows - 1) / kRows, group = p.heads / p.kv_heads;
  for (int64_t task = sdnn_id(); task < p.batch * p.heads * tiles; task += sdnn_num()) {
    const int64_t r0 = task % tiles * kRows, head = task / tiles % p.heads, b = task / tiles / p.heads;
    int64_t rows = p.rows, of_keys = p.keys, q_at = b * p.q[0], k_at = b * p.k[0], v_at = b * p.v[0], y_at = b * p.y[0];
    if (lod) {
      SDNN_LOAD(ends, lod + b, 1, 2 * sizeof(int32_t), 0, 2 * sizeof(int32_t));
      rows = of_keys = ends[1] - ends[0];
      q_at = ends[0] * p.q[2], k_at = ends[0] * p.k[2], v_at = ends[0] * p.v[2], y_at = ends[0] * p.y[2];
    }
    if (r0 >= rows) continue;
    const int64_t r = std::min<int64_t>(kRows, rows - r0), later = of_keys - rows;
    SDNN_LOAD(stage, q + q_at + head * p.q[1] + r0 * p.q[2], r, p.dim * sizeof(float), p.q[2] * sizeof(float), p.dim * sizeof(float));
    round_rows<G>(stage, queries, r * p.dim, q_factor);
    for (int64_t i = 0; i < r; ++i) top[i] = -INFINITY, total[i] = 0;
    memset(out, 0, r * p.v_dim * sizeof(float));
    for (int64_t k0 = 0; k0 < of_keys; k0 += kKeys) {
      if (p.causal && k0 > r0 + r - 1 + later) break;
      const int64_t n = std::min<int64_t>(kKeys, of_keys - k0);
      SDNN_LOAD(stage, k + k_at + head / group * p.k[1] + k0 * p.k[2], n, p.dim * sizeof(float), p.k[2] * sizeof(float),
                p.dim * sizeof(float));
      for (int64_t i = 0; i < p.dim; ++i)
        for (int64_t j = 0; j < n; ++j) keys[i * n + j] = rounded<G>(stage[j * p.dim + i], k_factor);
      memset(sums, 0, r * n * sizeof(Sum));
      multiply<G>(queries, keys, sums, r, n, p.dim, p.dim, n, n);
      const int64_t mask_rows = mask ? p.mask[2] ? r : 1 : 0;
      if (mask)
        SDNN_LOAD(masks, mask + b * p.mask[0] + head * p.mask[1] + r0 * p.mask[2] + k0, mask_rows, n * sizeof(float),
                  p.mask[2] * sizeof(float), n * sizeof(float));
      for (int64_t i = 0; i < r; ++i) {
        const int64_t seen = p.causal ? std::clamp<int64_t>(r0 + i + later - k0 + 1, 0, n) : n;
        const float* added = mask ? masks + (mask_rows > 1 ? i * n : 0) : nullptr;
        float most = top[i], sum = 0;
        for (int64_t j = 0; j < n; ++j) {
          float s = j < seen ? worth<G>(sums[i * n + j], score_scale) : -INFINITY;
          if (added && j < seen) s += added[j];
          stage[i * n + j] = s;
          most = s > most || s != s ? s : most;
        }
        // a block that is masked wholly adds nothing
        const float kept = most == -INFINITY ? 1 : expf(top[i] - most);
        for (int64_t j = 0; j < n; ++j) {
          const float share = most == -INFINITY ? 0 : expf(stage[i * n + j] - most);
          shares[i * n + j] = rounded<G>(share, share_factor);
          sum += share;
        }
        total[i] = total[i] * kept + sum;
        top[i] = most;
        small[i] = kept;
      }
      SDNN_LOAD(stage, v + v_at + head / group * p.v[1] + k0 * p.v[2], n, p.v_dim * sizeof(float), p.v[2] * sizeof(float),
                p.v_dim * sizeof(float));
      round_rows<G>(stage, values, n * p.v_dim, v_factor);
      memset(sums, 0, r * p.v_dim * sizeof(Sum));
      multiply<G>(shares, values, sums, r, p.v_dim, n, n, p.v_dim, p.v_dim);
      for (int64_t i = 0; i < r; ++i)
        for (int64_t j = i * p.v_dim; j < (i + 1) * p.v_dim; ++j) out[j] = out[j] * small[i] + worth<G>(sums[j], value_scale);
      XPU_OPS((r * n * kSoftmax + r * p.v_dim * 2) / kUnitLanes);
    }
    for (int64_t i = 0; i < r; ++i)
      for (int64_t j = i * p.v_dim; j < (i + 1) * p.v_dim; ++j) out[j] /= total[i];
    if (y_max) found = largest_of(out, r * p.v_dim, found);
    SDNN_STORE(out, y + y_at + head * p.y[1] + r0 * p.y[2], r, p.v_dim * sizeof(float), p.y[2] * sizeof(float), p.v_dim * sizeof(float));
  }
  if (y_max) store_max(y_max, a.max_ptr, found, small);
}

#define XPU_ATTENTION(name, G)                                                                                                           \
  __global__ void name(Attention a, _global_ptr_ const float* q, _global_ptr_ const float* k, _global_ptr_ const float* v,              \
                       _global_ptr_ float* y, _global_ptr_ const float* mask, _global_ptr_ const int32_t* lod,                          \
                       _global_ptr_ const float* q_max, _global_ptr_ const float* k_max, _global_ptr_ const float* v_max,               \
                       _global_ptr_ float* y_max) {                                                                                     \
    attend<G>(a, q, k, v, y, mask, lod, q_max, k_max, v_max, y_max);                                                                    \
  }                                                                                                                                      \
  XPU_SDNN_KERNEL(name)
XPU_ATTENTION(attention_float, float)
XPU_ATTENTION(attention_float16, float16)
XPU_ATTENTION(attention_int16, int16_t)
XPU_ATTENTION(attention_int8, int8_t)
XPU_ATTENTION(attention_int31, int32_t)

template <typename G>
int run(Context* ctx, const float* q, const float* k, const float* v, float* y, const AttentionParam& p, const float* mask,
        const int32_t* lod, const float* q_max, const float* k_max, const float* v_max, float* y_max) {
  auto wrong = [&](const char* why) { return ctx->set_error(INVALID_PARAM, std::string("qkv_attention: ") + why); };
  if (p.batch < 0 || p.rows < 0 || p.keys < 0) return wrong("a size is negative");
  if (p.heads < 1 || p.kv_heads < 1 || p.heads % p.kv_heads) return wrong("the heads");
  if (p.dim < 1 || p.v_dim < 1 || p.dim > kWide || p.v_dim > kWide) return wrong("a head has at most 256 numbers");
  if (mask && p.mask[3] != 1) return wrong("the mask's keys are not neighbours");
  if (mask && lod) return wrong("packed sequences have no mask");
  if (!p.batch || !p.rows) return SUCCESS;
  if (!q || !k || !v || !y || !p.keys) return wrong("no data");
  const Attention a{p, ctx->max_ptr_size()};
  if (a.max_ptr > kMaxPtr) return wrong("the device's max pointers have too many floats");
  if constexpr (Number<G>::kScaled) {
    if (!q_max || !k_max || !v_max) return wrong("integers need q_max, k_max and v_max");
  }
  int status;
  if constexpr (std::is_same<G, float>::value) {
    status = XPU_LAUNCH(attention_float, ctx->nsdnn(), 1, ctx->xpu_stream, a, q, k, v, y, mask, lod, q_max, k_max, v_max, y_max);
  } else if constexpr (std::is_same<G, float16>::value) {
    status = XPU_LAUNCH(attention_float16, ctx->nsdnn(), 1, ctx->xpu_stream, a, q, k, v, y, mask, lod, q_max, k_max, v_max, y_max);
  } else if constexpr (std::is_same<G, int16_t>::value) {
    status = XPU_LAUNCH(attention_int16, ctx->nsdnn(), 1, ctx->xpu_stream, a, q, k, v, y, mask, lod, q_max, k_max, v_max, y_max);
  } else if constexpr (std::is_same<G, int32_t>::value) {
    status = XPU_LAUNCH(attention_int31, ctx->nsdnn(), 1, ctx->xpu_stream, a, q, k, v, y, mask, lod, q_max, k_max, v_max, y_max);
  } else {
    status = XPU_LAUNCH(attention_int8, ctx->nsdnn(), 1, ctx->xpu_stream, a, q, k, v, y, mask, lod, q_max, k_max, v_max, y_max);
  }
  return launched(ctx, "qkv_attention", status);
}
}  // namespace

#define XPU_DEFINE_ATTENTION(G)                                                                                                          \
  template <>                                                                                                                            \
  XPU_API int qkv_attention<float, G>(Context * ctx, const float* q, const float* k, const float* v, float* y, const AttentionParam& p,  \
                                      const float* mask, const int32_t* lod, const float* q_max, const float* k_max, const float* v_max, \
                                      float* y_max) {                                                                                    \
    return run<G>(ctx, q, k, v, y, p, mask, lod, q_max, k_max, v_max, y_max);                                                            \
  }
XPU_DEFINE_ATTENTION(float)
XPU_DEFINE_ATTENTION(float16)
XPU_DEFINE_ATTENTION(int16_t)
XPU_DEFINE_ATTENTION(int8_t)
XPU_DEFINE_ATTENTION(int32_t)

}  // namespace api
}  // namespace xpu
}  // namespace baidu
