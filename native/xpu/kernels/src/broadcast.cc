// Functions of two tensors that are broadcast: rows of the result, along which each operand is a row or one number.
#include "device.h"

namespace baidu {
namespace xpu {
namespace api {
namespace {

enum Op { ADD, SUB, MUL, DIV, MAX, MIN, POW };
constexpr int kMostDims = 6;

// Dims of the result after neighbours that are broadcast alike were joined; steps of 0 repeat.
struct Broadcast {
  int rank;
  int64_t shape[kMostDims], x_step[kMostDims], y_step[kMostDims];
};

template <typename F>
__device__ void combine(F f, float* x, const float* y, int n, bool x_repeats, bool y_repeats) {
  const float x0 = x[0], y0 = y[0];
  for (int i = 0; i < n; ++i) x[i] = f(x_repeats ? x0 : x[i], y_repeats ? y0 : y[i]);
}

__device__ void combine(int op, float* x, const float* y, int n, bool x_repeats, bool y_repeats) {
  switch (op) {
    case ADD:
      return combine([](float a, float b) { return a + b; }, x, y, n, x_repeats, y_repeats);
    case SUB:
      return combine([](float a, float b) { return a - b; }, x, y, n, x_repeats, y_repeats);
    case MUL:
      return combine([](float a, float b) { return a * b; }, x, y, n, x_repeats, y_repeats);
    case DIV:
      return combine([](float a, float b) { return a / b; }, x, y, n, x_repeats, y_repeats);
    case MAX:
      return combine([](float a, float b) { return a > b || a != a ? a : b; }, x, y, n, x_repeats, y_repeats);
    case MIN:
      return combine([](float a, float b) { return a < b || a != a ? a : b; }, x, y, n, x_repeats, y_repeats);
    case POW:
      return combine([](float a, float b) { return powf(a, b); }, x, y, n, x_repeats, y_repeats);
  }
}

__global__ void broadcast(int op, Broadcast dims, _global_ptr_ const float* x, _global_ptr_ const float* y, _global_ptr_ float* z) {
  XPU_LOCAL(float, left, kTile);
  XPU_LOCAL(float, right, kTile);
  const int last = dims.rank - 1;
  const int64_t width = dims.shape[last], chunks = (width + kTile - 1) / kTile;
  int64_t rows = 1;
  for (int d = 0; d < last; ++d) rows *= dims.shape[d];
  const bool x_repeats = dims.x_step[last] == 0, y_repeats = dims.y_step[last] == 0;
  for (int64_t piece = unit(); piece < rows * chunks; piece += units()) {
    const int64_t row = piece / chunks, from = piece % chunks * kTile;
    const int n = static_cast<int>(width - from < kTile ? width - from : kTile);
    int64_t rest = row, x_at = x_repeats ? 0 : from, y_at = y_repeats ? 0 : from;
    for (int d = last - 1; d >= 0; --d) {
      x_at += rest % dims.shape[d] * dims.x_step[d];
      y_at += rest % dims.shape[d] * dims.y_step[d];
      rest /= dims.shape[d];
    }
    GM2LM_ASYNC(x + x_at, left, (x_repeats ? 1 : n) * sizeof(float));
    GM2LM_ASYNC(y + y_at, right, (y_repeats ? 1 : n) * sizeof(float));
    mfence();
    combine(op, left, right, n, x_repeats, y_repeats);
    XPU_OPS(op == POW ? 16 * n : n);
    LM2GM(left, z + row * width + from, n * sizeof(float));
  }
}
XPU_KERNEL(broadcast)

bool join(const std::vector<int64_t>& xshape, const std::vector<int64_t>& yshape, Broadcast* dims, int64_t* total) {
  const size_t rank = std::max(xshape.size(), yshape.size());
  auto dim = [&](const std::vector<int64_t>& shape, size_t i) { return i + shape.size() < rank ? 1 : shape[i + shape.size() - rank]; };
  *dims = Broadcast{1, {1}, {0}, {0}};
  *total = 1;
  bool x_before = false, y_before = false, first = true;  // whether the dim before is the operand's own
  std::vector<std::pair<bool, bool>> own;
  dims->rank = 0;
  for (size_t i = 0; i < rank; ++i) {
    const int64_t a = dim(xshape, i), b = dim(yshape, i), size = a == 1 ? b : a;
    if (a != size && a != 1) return false;
    if (b != size && b != 1) return false;
    *total *= size;
    if (size == 1) continue;
    const bool x_own = a != 1, y_own = b != 1;
    if (!first && x_own == x_before && y_own == y_before) {
      dims->shape[dims->rank - 1] *= size;
    } else {
      if (dims->rank == kMostDims) return false;
      dims->shape[dims->rank++] = size;
      own.emplace_back(x_own, y_own);
    }
    x_before = x_own, y_before = y_own, first = false;
  }
  if (!dims->rank) {
    dims->rank = 1, dims->shape[0] = 1;
    own.emplace_back(true, true);
  }
  int64_t x_step = 1, y_step = 1;
  for (int d = dims->rank - 1; d >= 0; --d) {
    dims->x_step[d] = own[d].first ? x_step : 0;
    dims->y_step[d] = own[d].second ? y_step : 0;
    if (own[d].first) x_step *= dims->shape[d];
    if (own[d].second) y_step *= dims->shape[d];
  }
  return true;
}

int run(Context* ctx, const char* name, int op, const float* x, const float* y, float* z, const std::vector<int64_t>& xshape,
        const std::vector<int64_t>& yshape) {
  Broadcast dims;
  int64_t total;
  if (!is_shape(xshape) || !is_shape(yshape) || !join(xshape, yshape, &dims, &total))
    return ctx->set_error(INVALID_PARAM, std::string(name) + ": the shapes cannot be broadcast, or have too many dims that alternate");
  if (!total) return SUCCESS;
  if (!x || !y || !z) return ctx->set_error(INVALID_PARAM, std::string(name) + ": no data");
  const int64_t width = dims.shape[dims.rank - 1], pieces = total / width * ((width + kTile - 1) / kTile);
  return launched(ctx, name, XPU_LAUNCH(broadcast, clusters_for(ctx, pieces), ctx->ncore(), ctx->xpu_stream, op, dims, x, y, z));
}
}  // namespace

#define XPU_DEFINE_BROADCAST(name, op)                                                                                 \
  template <>                                                                                                          \
  XPU_API int name<float>(Context * ctx, const float* x, const float* y, float* z, const std::vector<int64_t>& xshape, \
                          const std::vector<int64_t>& yshape) {                                                        \
    return run(ctx, #name, op, x, y, z, xshape, yshape);                                                               \
  }
XPU_DEFINE_BROADCAST(broadcast_add, ADD)
XPU_DEFINE_BROADCAST(broadcast_sub, SUB)
XPU_DEFINE_BROADCAST(broadcast_mul, MUL)
XPU_DEFINE_BROADCAST(broadcast_div, DIV)
XPU_DEFINE_BROADCAST(broadcast_max, MAX)
XPU_DEFINE_BROADCAST(broadcast_min, MIN)
XPU_DEFINE_BROADCAST(broadcast_pow, POW)

}  // namespace api
}  // namespace xpu
}  // namespace baidu
