// What the library's kernels share.
#ifndef XPU_KERNELS_DEVICE_H_
#define XPU_KERNELS_DEVICE_H_

#include <math.h>

#include <algorithm>

#include "xpu/kernel/sdnn.h"
#include "xpu/kernel/xtdk.h"
#include "xpu/xdnn.h"

namespace baidu {
namespace xpu {
namespace api {

constexpr int kTile = 768;  // floats: two tiles, and as much for a second operand, fit a core's 8 KB

__device__ int64_t unit() { return static_cast<int64_t>(cluster_id()) * core_num() + core_id(); }
__device__ int64_t units() { return static_cast<int64_t>(cluster_num()) * core_num(); }

// Operations of an activation, as the time model counts them.
constexpr int kActCost[] = {0, 1, 8, 10, 12, 9, 4, 3, 2, 2};

__device__ float activate(Activation_t::act_enum type, float alpha, float v) {
  switch (type) {
    case Activation_t::RELU:
      return v < 0 ? 0 : v;  // a NaN stays
    case Activation_t::SIGMOID:
      return 1 / (1 + expf(-v));
    case Activation_t::TANH:
      return tanhf(v);
    case Activation_t::GELU:
      return 0.5f * v * (1 + erff(v * 0.70710678f));
    case Activation_t::SWISH:
      return v / (1 + expf(-v));
    case Activation_t::HARD_SWISH:
      return v * fminf(fmaxf(v + 3, 0), 6) / 6;
    case Activation_t::HARD_SIGMOID:
      return fminf(fmaxf(alpha * v + 0.5f, 0), 1);
    case Activation_t::RELU6:
      return v < 0 ? 0 : v > 6 ? 6 : v;
    case Activation_t::LEAKY_RELU:
      return v > 0 ? v : alpha * v;
    default:
      return v;
  }
}

__device__ void activate(Activation_t::act_enum type, float alpha, float* v, int64_t n) {
  if (type == Activation_t::LINEAR) return;
  if (type == Activation_t::RELU) {
    for (int64_t i = 0; i < n; ++i) v[i] = v[i] < 0 ? 0 : v[i];
    return;
  }
  for (int64_t i = 0; i < n; ++i) v[i] = activate(type, alpha, v[i]);
}

constexpr int kMostCores = 64, kMostSlots = 16;  // of a cluster; behind a max pointer

__device__ float larger_of(const float* v, int64_t n, float found) {
  for (int64_t i = 0; i < n; ++i) found = fabsf(v[i]) > found ? fabsf(v[i]) : found;
  return found;
}

// The largest of what a cluster's cores found goes to the cluster's place of y_max; the last cluster fills the rest.  All cores must call
// it once; lm: kMostSlots floats.
__device__ void store_cluster_max(_global_ptr_ float* y_max, int slots, float found, float* lm) {
  XPU_SHARED(float, found_by, kMostCores);
  found_by[core_id()] = found;
  sync_cluster();
  if (core_id() == 0) {
    for (int i = 1; i < core_num(); ++i) found = found_by[i] > found ? found_by[i] : found;
    const int many = cluster_id() == cluster_num() - 1 ? slots - cluster_id() : 1;
    for (int i = 0; i < many; ++i) lm[i] = i ? 0 : found;
    LM2GM(lm, y_max + cluster_id(), many * sizeof(float));
  }
}

// ---- the host's side
inline int launched(Context* ctx, const char* what, int status) {
  if (status == XPU_SUCCESS) return SUCCESS;
  return ctx->set_error(RUNTIME_ERROR, std::string(what) + ": " + xpu_last_error_text());
}

#define XPU_CHECK_PARAM(condition) \
  if (!(condition)) return ctx->set_error(INVALID_PARAM, std::string(__func__) + ": not so: " #condition)

inline int64_t product(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}
inline bool is_shape(const std::vector<int64_t>& shape) {
  return std::all_of(shape.begin(), shape.end(), [](int64_t d) { return d >= 0; });
}

// [outer, length, inner] of a shape around dims first … last.
struct Around {
  int64_t outer = 1, length = 1, inner = 1;
  Around(const std::vector<int64_t>& shape, int first, int last) {
    for (int i = 0; i < static_cast<int>(shape.size()); ++i) (i < first ? outer : i <= last ? length : inner) *= shape[i];
  }
};

// A grid's clusters for so many pieces of work: no more than there is work for.
inline int clusters_for(const Context* ctx, int64_t pieces) {
  return static_cast<int>(std::clamp<int64_t>((pieces + ctx->ncore() - 1) / ctx->ncore(), 1, ctx->ncluster()));
}

}  // namespace api
}  // namespace xpu
}  // namespace baidu
#endif  // XPU_KERNELS_DEVICE_H_
