// Max pointers: finding them, and rounding by them.
#include "numbers.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

// Each cluster finds the largest of its tiles, and writes one float.
__global__ void find_max(_global_ptr_ const float* x, _global_ptr_ float* max, int64_t len, int slots) {
  XPU_SHARED(float, parts, 64);
  XPU_LOCAL(float, lm, kTile);
  float found = 0;
  for (int64_t at = unit() * kTile; at < len; at += units() * kTile) {
    const int n = static_cast<int>(len - at < kTile ? len - at : kTile);
    GM2LM(x + at, lm, n * sizeof(float));
    for (int i = 0; i < n; ++i) found = fabsf(lm[i]) > found ? fabsf(lm[i]) : found;
    XPU_OPS(2 * n);
  }
  parts[core_id()] = found;
  sync_cluster();
  if (core_id() == 0) {
    for (int i = 1; i < core_num(); ++i) found = parts[i] > found ? parts[i] : found;
    for (int i = 0; i < slots; ++i) lm[i] = 0;
    lm[0] = found;
    LM2GM(lm, max + cluster_id(), (cluster_id() == cluster_num() - 1 ? slots - cluster_id() : 1) * sizeof(float));
  }
}
XPU_KERNEL(find_max)

template <typename T>
__device__ void quantise(_global_ptr_ const float* x, _global_ptr_ T* y, int64_t len, _global_ptr_ const float* max, int slots) {
  XPU_LOCAL(float, lm, kTile);
  XPU_LOCAL(T, out, kTile);
  XPU_LOCAL(float, maxima, kMaxPtr);
  GM2LM(max, maxima, slots * sizeof(float));
  float found = 0;
  for (int i = 0; i < slots; ++i) found = maxima[i] > found ? maxima[i] : found;
  const float factor = factor_of<T>(found);
  for (int64_t at = unit() * kTile; at < len; at += units() * kTile) {
    const int n = static_cast<int>(len - at < kTile ? len - at : kTile);
    GM2LM(x + at, lm, n * sizeof(float));
    for (int i = 0; i < n; ++i) out[i] = static_cast<T>(rounded<T>(lm[i], factor));
    XPU_OPS(4 * n);
    LM2GM(out, y + at, n * sizeof(T));
  }
}
__global__ void quantise_int16(_global_ptr_ const float* x, _global_ptr_ int16_t* y, int64_t len, _global_ptr_ const float* max,
                               int slots) {
  quantise(x, y, len, max, slots);
}
XPU_KERNEL(quantise_int16)
__global__ void quantise_int8(_global_ptr_ const float* x, _global_ptr_ int8_t* y, int64_t len, _global_ptr_ const float* max, int slots) {
  quantise(x, y, len, max, slots);
}
XPU_KERNEL(quantise_int8)
}  // namespace

template <>
XPU_API int findmax<float>(Context* ctx, const float* x, float* max, int64_t len) {
  XPU_CHECK_PARAM(len >= 0 && max && (x || !len));
  const int clusters = std::min(ctx->ncluster(), ctx->max_ptr_size());
  return launched(ctx, __func__, XPU_LAUNCH(find_max, clusters, ctx->ncore(), ctx->xpu_stream, x, max, len, ctx->max_ptr_size()));
}

template <>
XPU_API int quantization<float, int16_t>(Context* ctx, const float* x, int16_t* y, int64_t len, const float* max) {
  XPU_CHECK_PARAM(len >= 0 && max && ((x && y) || !len));
  const int clusters = clusters_for(ctx, (len + kTile - 1) / kTile);
  return launched(ctx, __func__, XPU_LAUNCH(quantise_int16, clusters, ctx->ncore(), ctx->xpu_stream, x, y, len, max, ctx->max_ptr_size()));
}

template <>
XPU_API int quantization<float, int8_t>(Context* ctx, const float* x, int8_t* y, int64_t len, const float* max) {
  XPU_CHECK_PARAM(len >= 0 && max && ((x && y) || !len));
  const int clusters = clusters_for(ctx, (len + kTile - 1) / kTile);
  return launched(ctx, __func__, XPU_LAUNCH(quantise_int8, clusters, ctx->ncore(), ctx->xpu_stream, x, y, len, max, ctx->max_ptr_size()));
}

const float* max_of(Context* ctx, const float* x, const float* x_max, int64_t len) {
  if (x_max) return x_max;
  float* found = static_cast<float*>(ctx->workspace(ctx->max_ptr_size() * static_cast<int64_t>(sizeof(float))));
  if (!found) {
    ctx->set_error(NO_ENOUGH_WORKSPACE, std::string("the max pointer of x: ") + xpu_last_error_text());
    return nullptr;
  }
  return findmax(ctx, x, found, len) == SUCCESS ? found : nullptr;
}

}  // namespace api
}  // namespace xpu
}  // namespace baidu
