// Normalisations: of rows, by a core each; of groups of channels, by a cluster each; of channels by known statistics.
#include "numbers.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

constexpr int kRow = 1024, kPart = 512;  // floats of a row, or of a part of one; of what is added, multiplied

// In 16 partial results, as a vector of the chip has: sums of long rows stay exact.
template <typename F>
__device__ float sum_of(int n, F f) {
  float parts[16] = {};
  for (int i = 0; i < n; ++i) parts[i % 16] += f(i);
  for (int half = 8; half; half /= 2)
    for (int j = 0; j < half; ++j) parts[j] += parts[j + half];
  return parts[0];
}

// v[i] = v[i] · other[i], or + that
template <bool scales>
__device__ void with(float* v, int size, const float* other, float* lm) {
  for (int from = 0; from < size; from += kPart) {
    const int n = size - from < kPart ? size - from : kPart;
    GM2LM(other + from, lm, n * sizeof(float));
    for (int i = 0; i < n; ++i) v[from + i] = scales ? v[from + i] * lm[i] : v[from + i] + lm[i];
  }
}

struct Rows {
  int64_t m, n;
  float eps;
  int rms, slots;
};

__global__ void norm_rows(Rows a, _global_ptr_ const float* x, _global_ptr_ const float* other, _global_ptr_ float* y,
                          _global_ptr_ const float* scale, _global_ptr_ const float* bias, _global_ptr_ float* mean_out,
                          _global_ptr_ float* var_out, _global_ptr_ float* sum_out, _global_ptr_ float* y_max) {
  XPU_LOCAL(float, lm, kRow);
  XPU_LOCAL(float, more, kPart);
  XPU_LOCAL(float, one, kMostSlots);
  float found = 0;
  for (int64_t r = unit(); r < a.m; r += units()) {
    const int64_t row = r * a.n;
    bool loaded = false;  // a short row is read once
    auto parts = [&](auto f) {
      for (int64_t at = 0; at < a.n; at += kRow) {
        const int size = static_cast<int>(std::min<int64_t>(kRow, a.n - at));
        if (!(loaded && a.n <= kRow)) {
          GM2LM(x + row + at, lm, size * sizeof(float));
          if (other) with<false>(lm, size, other + row + at, more);
          loaded = true;
        }
        f(lm, size, at);
      }
    };
    float sum = 0, squares = 0, mean = 0;
    if (!a.rms) {
      parts([&](float* v, int size, int64_t) { sum += sum_of(size, [&](int i) { return v[i]; }); });
      mean = sum / a.n;
    }
    parts([&](float* v, int size, int64_t) { squares += sum_of(size, [&](int i) { return (v[i] - mean) * (v[i] - mean); }); });
    const float var = squares / a.n, factor = 1 / sqrtf(var + a.eps);
    parts([&](float* v, int size, int64_t at) {
      if (sum_out) LM2GM(v, sum_out + row + at, size * sizeof(float));
      for (int i = 0; i < size; ++i) v[i] = (v[i] - mean) * factor;
      if (scale) with<true>(v, size, scale + at, more);
      if (bias) with<false>(v, size, bias + at, more);
      if (y_max) found = larger_of(v, size, found);
      LM2GM(v, y + row + at, size * sizeof(float));
    });
    one[0] = mean;
    one[1] = var;
    if (mean_out) LM2GM(one, mean_out + r, sizeof(float));
    if (var_out) LM2GM(one + 1, var_out + r, sizeof(float));
    XPU_OPS(a.n * (other ? 9 : 8));
  }
  if (y_max) store_cluster_max(y_max, a.slots, found, one);
}
XPU_KERNEL(norm_rows)

struct Groups {
  int64_t count, length, hw, channels;  // of groups; of a group's numbers; of a plane; of an image
  int64_t share;                        // channels of a group
  float eps, alpha;
  int act;
};

// A cluster takes a group: its cores sum parts, and share the sums.
__global__ void norm_groups(Groups a, _global_ptr_ const float* x, _global_ptr_ float* y, _global_ptr_ const float* scale,
                            _global_ptr_ const float* bias) {
  XPU_SHARED(float, sums, kMostCores);
  XPU_SHARED(float, squares, kMostCores);
  XPU_LOCAL(float, lm, kRow);
  XPU_LOCAL(float, one, 2);
  const int64_t step = static_cast<int64_t>(core_num()) * kRow;
  auto shared = [&](const float* parts) {
    float total = 0;
    for (int i = 0; i < core_num(); ++i) total += parts[i];
    return total;
  };
  for (int64_t g = cluster_id(); g < a.count; g += cluster_num()) {
    const int64_t from = g * a.length, first = g * a.share % a.channels;
    const bool once = a.length <= step;
    bool loaded = false;
    auto parts = [&](auto f) {
      for (int64_t at = core_id() * kRow; at < a.length; at += step) {
        const int size = static_cast<int>(std::min<int64_t>(kRow, a.length - at));
        if (!(once && loaded)) GM2LM(x + from + at, lm, size * sizeof(float));
        loaded = true;
        f(lm, size, at);
      }
    };
    float mine = 0;
    parts([&](float* v, int size, int64_t) { mine += sum_of(size, [&](int i) { return v[i]; }); });
    sums[core_id()] = mine;
    sync_cluster();
    const float mean = shared(sums) / a.length;
    mine = 0;
    parts([&](float* v, int size, int64_t) { mine += sum_of(size, [&](int i) { return (v[i] - mean) * (v[i] - mean); }); });
    squares[core_id()] = mine;
    sync_cluster();
    const float factor = 1 / sqrtf(shared(squares) / a.length + a.eps);
    parts([&](float* v, int size, int64_t at) {
      for (int done = 0; done < size;) {
        const int64_t channel = (at + done) / a.hw;
        const int n = static_cast<int>(std::min<int64_t>(size - done, (channel + 1) * a.hw - at - done));
        one[0] = 1, one[1] = 0;
        if (scale) GM2LM(scale + first + channel, one, sizeof(float));
        if (bias) GM2LM(bias + first + channel, one + 1, sizeof(float));
        for (int i = done; i < done + n; ++i) v[i] = (v[i] - mean) * factor * one[0] + one[1];
        done += n;
      }
      activate(static_cast<Activation_t::act_enum>(a.act), a.alpha, v, size);
      LM2GM(v, y + from + at, size * sizeof(float));
      XPU_OPS(size * (9 + kActCost[a.act]));
    });
  }
}
XPU_KERNEL(norm_groups)

__global__ void scale_channels(Groups a, _global_ptr_ const float* x, _global_ptr_ float* y, _global_ptr_ const float* scale,
                               _global_ptr_ const float* bias) {
  XPU_LOCAL(float, lm, kRow);
  XPU_LOCAL(float, one, 2);
  const int64_t chunks = (a.hw + kRow - 1) / kRow;
  for (int64_t piece = unit(); piece < a.count * chunks; piece += units()) {
    const int64_t plane = piece / chunks, at = piece % chunks * kRow, place = plane * a.hw + at;
    const int n = static_cast<int>(std::min<int64_t>(kRow, a.hw - at));
    one[0] = 1, one[1] = 0;
    GM2LM_ASYNC(x + place, lm, n * sizeof(float));
    if (scale) GM2LM_ASYNC(scale + plane % a.channels, one, sizeof(float));
    if (bias) GM2LM_ASYNC(bias + plane % a.channels, one + 1, sizeof(float));
    mfence();
    for (int i = 0; i < n; ++i) lm[i] = lm[i] * one[0] + one[1];
    activate(static_cast<Activation_t::act_enum>(a.act), a.alpha, lm, n);
    XPU_OPS(n * (2 + kActCost[a.act]));
    LM2GM(lm, y + place, n * sizeof(float));
  }
}
XPU_KERNEL(scale_channels)

constexpr int kMostHidden = 8192, kMostMeans = 8192;

struct Excitation {
  int64_t n, c, hw, r;
  int act1, act2;
  float alpha1, alpha2;
};

// Every cluster computes what is between the two products, which is little, and scales its own channels.
template <typename TW>
__device__ void excite_channels(const Excitation& a, const float* x, const float* mean, const TW* w1, const TW* w2, const float* b1,
                                const float* b2, float* y) {
  constexpr bool kHalf = std::is_same<TW, float16>::value;
  XPU_SHARED(float, hidden, kMostHidden);
  XPU_SHARED(float, shared_means, kMostMeans);
  XPU_LOCAL(float, left, kPart);
  XPU_LOCAL(float, right, kRow);
  XPU_LOCAL(TW, halves, kHalf ? kPart : 1);
  auto product = [&](int64_t n, const TW* row, auto operand, const float* bias) {
    float total = 0;
    for (int64_t at = 0; at < n; at += kPart) {
      const int size = static_cast<int>(std::min<int64_t>(kPart, n - at));
      if constexpr (kHalf) {
        GM2LM(row + at, halves, size * sizeof(TW));
        for (int i = 0; i < size; ++i) left[i] = to_float(halves[i]);
        XPU_OPS(size);
      } else {
        GM2LM(row + at, left, size * sizeof(float));
      }
      const float* other = operand(at, size);
      total += sum_of(size, [&](int i) { return left[i] * other[i]; });
      XPU_OPS(2 * size);
    }
    if (bias) {
      GM2LM(bias, left, sizeof(float));
      total += left[0];
    }
    return total;
  };
  const bool shares = a.c <= kMostMeans;
  for (int64_t image = 0; image < a.n; ++image) {
    if (shares) {  // every row of the first matrix is multiplied by all means: they come in once
      if (core_id() == 0) GM2SM(mean + image * a.c, shared_means, a.c * sizeof(float));
      sync_cluster();
    }
    for (int64_t o = core_id(); o < a.r; o += core_num()) {
      auto means = [&](int64_t at, int size) -> const float* {
        if (shares) return shared_means + at;
        GM2LM(mean + image * a.c + at, right, size * sizeof(float));
        return right;
      };
      hidden[o] = activate(static_cast<Activation_t::act_enum>(a.act1), a.alpha1, product(a.c, w1 + o * a.c, means, b1 ? b1 + o : nullptr));
    }
    sync_cluster();
    for (int64_t channel = unit(); channel < a.c; channel += units()) {
      auto inner = [&](int64_t at, int) { return hidden + at; };
      const float sum = product(a.r, w2 + channel * a.r, inner, b2 ? b2 + channel : nullptr);
      const float gate = activate(static_cast<Activation_t::act_enum>(a.act2), a.alpha2, sum);
      const int64_t plane = (image * a.c + channel) * a.hw;
      for (int64_t at = 0; at < a.hw; at += kRow) {
        const int size = static_cast<int>(std::min<int64_t>(kRow, a.hw - at));
        GM2LM(x + plane + at, right, size * sizeof(float));
        for (int i = 0; i < size; ++i) right[i] *= gate;
        LM2GM(right, y + plane + at, size * sizeof(float));
        XPU_OPS(size);
      }
    }
    sync_cluster();
  }
}
__global__ void excite(Excitation a, _global_ptr_ const float* x, _global_ptr_ const float* mean, _global_ptr_ const float* w1,
                       _global_ptr_ const float* w2, _global_ptr_ const float* b1, _global_ptr_ const float* b2, _global_ptr_ float* y) {
  excite_channels(a, x, mean, w1, w2, b1, b2, y);
}
XPU_KERNEL(excite)
__global__ void excite_float16(Excitation a, _global_ptr_ const float* x, _global_ptr_ const float* mean, _global_ptr_ const float16* w1,
                               _global_ptr_ const float16* w2, _global_ptr_ const float* b1, _global_ptr_ const float* b2,
                               _global_ptr_ float* y) {
  excite_channels(a, x, mean, w1, w2, b1, b2, y);
}
XPU_KERNEL(excite_float16)

int rows_of(Context* ctx, const char* name, bool rms, const float* x, const float* other, float* y, int64_t m, int64_t n, float eps,
            const float* scale, const float* bias, float* mean, float* var, float* sum, float* y_max) {
  if (m < 0 || n < 0 || eps < 0) return ctx->set_error(INVALID_PARAM, std::string(name) + ": a size, or eps, is negative");
  if (!m || !n) return SUCCESS;
  if (!x || !y) return ctx->set_error(INVALID_PARAM, std::string(name) + ": no data");
  const int clusters = clusters_for(ctx, m);
  const Rows a{m, n, eps, rms, ctx->max_ptr_size()};
  const int most = y_max ? std::min(clusters, a.slots) : clusters;
  return launched(ctx, name,
                  XPU_LAUNCH(norm_rows, most, ctx->ncore(), ctx->xpu_stream, a, x, other, y, scale, bias, mean, var, sum, y_max));
}

int groups_of(Context* ctx, const char* name, const float* x, float* y, int64_t n, int64_t c, int64_t hw, int64_t groups, float eps,
              const float* scale, const float* bias, const Activation_t& act) {
  if (n < 0 || c < 0 || hw < 0 || eps < 0 || groups < 1 || c % groups || ctx->ncore() > kMostCores)
    return ctx->set_error(INVALID_PARAM, std::string(name) + ": a size, or the groups");
  if (!n || !c || !hw) return SUCCESS;
  if (!x || !y) return ctx->set_error(INVALID_PARAM, std::string(name) + ": no data");
  const Groups a{n * groups, c / groups * hw, hw, c, c / groups, eps, act.alpha, act.type};
  const int clusters = static_cast<int>(std::min<int64_t>(a.count, ctx->ncluster()));
  return launched(ctx, name, XPU_LAUNCH(norm_groups, clusters, ctx->ncore(), ctx->xpu_stream, a, x, y, scale, bias));
}
}  // namespace

template <>
XPU_API int layer_norm<float>(Context* ctx, const float* x, float* y, int64_t m, int64_t n, float eps, const float* scale,
                              const float* bias, float* mean, float* var) {
  return rows_of(ctx, __func__, false, x, nullptr, y, m, n, eps, scale, bias, mean, var, nullptr, nullptr);
}
template <>
XPU_API int add_layer_norm<float>(Context* ctx, const float* x, const float* other, float* y, int64_t m, int64_t n, float eps,
                                  const float* scale, const float* bias, float* sum, float* y_max) {
  return rows_of(ctx, __func__, false, x, other, y, m, n, eps, scale, bias, nullptr, nullptr, sum, y_max);
}
template <>
XPU_API int rms_layer_norm<float>(Context* ctx, const float* x, const float* other, float* y, int64_t m, int64_t n, float eps,
                                  const float* scale, const float* bias, float* sum, float* y_max) {
  return rows_of(ctx, __func__, true, x, other, y, m, n, eps, scale, bias, nullptr, nullptr, sum, y_max);
}
template <>
XPU_API int group_norm<float>(Context* ctx, const float* x, float* y, int64_t n, int64_t c, int64_t hw, int64_t groups, float eps,
                              const float* scale, const float* bias, const Activation_t& act) {
  return groups_of(ctx, __func__, x, y, n, c, hw, groups, eps, scale, bias, act);
}
template <>
XPU_API int instance_norm<float>(Context* ctx, const float* x, float* y, int64_t n, int64_t c, int64_t hw, float eps, const float* scale,
                                 const float* bias, const Activation_t& act) {
  return groups_of(ctx, __func__, x, y, n, c, hw, std::max<int64_t>(c, 1), eps, scale, bias, act);
}
template <>
XPU_API int batch_norm_infer<float>(Context* ctx, const float* x, float* y, int64_t n, int64_t c, int64_t hw, const float* scale,
                                    const float* bias, const Activation_t& act) {
  XPU_CHECK_PARAM(n >= 0 && c >= 0 && hw >= 0);
  if (!n || !c || !hw) return SUCCESS;
  XPU_CHECK_PARAM(x && y);
  const Groups a{n * c, hw, hw, c, 1, 0, act.alpha, act.type};
  const int clusters = clusters_for(ctx, a.count * ((hw + kRow - 1) / kRow));
  return launched(ctx, __func__, XPU_LAUNCH(scale_channels, clusters, ctx->ncore(), ctx->xpu_stream, a, x, y, scale, bias));
}
#define XPU_DEFINE_EXCITATION(TW, kernel)                                                                                                \
  template <>                                                                                                                            \
  XPU_API int squeeze_excitation_block<float, TW>(Context * ctx, const float* x, const TW* w1, const TW* w2, float* y, int64_t n,        \
                                                  int64_t c, int64_t h, int64_t w, int64_t r, const float* b1, const float* b2,          \
                                                  const Activation_t& act1, const Activation_t& act2) {                                  \
    XPU_CHECK_PARAM(n >= 0 && c >= 0 && h >= 0 && w >= 0 && r > 0 && r <= kMostHidden);                                                  \
    if (!n || !c || !h || !w) return SUCCESS;                                                                                            \
    XPU_CHECK_PARAM(x && w1 && w2 && y);                                                                                                 \
    float* mean = static_cast<float*>(ctx->scratch(n * c * static_cast<int64_t>(sizeof(float))));                                        \
    if (!mean) return ctx->set_error(NO_ENOUGH_WORKSPACE, std::string(__func__) + ": " + xpu_last_error_text());                         \
    const int status = reduce_mean<float>(ctx, x, mean, {n * c, h * w}, {1});                                                            \
    if (status != SUCCESS) return status;                                                                                                \
    const Excitation a{n, c, h * w, r, act1.type, act2.type, act1.alpha, act2.alpha};                                                    \
    return launched(ctx, __func__,                                                                                                       \
                    XPU_LAUNCH(kernel, clusters_for(ctx, c), ctx->ncore(), ctx->xpu_stream, a, x, mean, w1, w2, b1, b2, y));              \
  }
XPU_DEFINE_EXCITATION(float, excite)
XPU_DEFINE_EXCITATION(float16, excite_float16)

}  // namespace api
}  // namespace xpu
}  // namespace baidu
