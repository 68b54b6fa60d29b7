// Tiles of whole rows: of each plane's results, rows that need rows of the input which lie one behind the other, so that what a core reads
// and writes for one are a transfer each.
#ifndef XPU_KERNELS_TILES_H_
#define XPU_KERNELS_TILES_H_

#include "device.h"

namespace baidu {
namespace xpu {
namespace api {

struct Tiling {
  int rows = 0;                  // of results; 0: no tile fits
  int size = 0;                  // floats of a buffer for what a tile reads
  int ahead = 0;                 // two of them: the next tile comes in while one is worked on
  int64_t down = 0, pieces = 0;  // tiles of a plane, and of all
  int clusters = 0;
};

constexpr int kRoom = 2048 - kMostSlots;  // floats of a core's 8 KB
constexpr int64_t kTransfer = 9600;       // what a transfer takes to begin, in floats that all cores together move meanwhile
constexpr int64_t kOperations = 5;        // floats that all move while a core does an operation

struct Planes {
  int64_t count, w, oh, ow;  // of all planes; columns of the input; rows and columns of the result
  int extra;                 // floats that a tile reads beside rows
  int operations;            // for each result
  bool branch;               // a second operand, which takes the buffer's place
};

// The tiles that the time model has for the fastest; height(rows): the rows of the input under so many of the result.
// memory/tiles.py finds the same.
template <typename Height>
Tiling tiling(const Context* ctx, const Planes& p, int most_clusters, Height height) {
  Tiling best;
  int64_t least = INT64_MAX;
  for (int64_t rows = 1; rows <= p.oh; ++rows) {
    const int64_t out = rows * p.ow, read = height(rows) * p.w + p.extra, size = std::max(read, p.branch ? out : 0);
    if (size + out > kRoom) break;
    const int64_t down = (p.oh + rows - 1) / rows, pieces = p.count * down;
    const int clusters = std::min(clusters_for(ctx, pieces), most_clusters);
    const int64_t units = static_cast<int64_t>(clusters) * ctx->ncore(), turns = (pieces + units - 1) / units;
    const bool ahead = turns > 1 && 2 * size + out <= kRoom;
    const int64_t moves = units * (read + (p.branch ? 2 : 1) * out) + 4 * kTransfer, works = out * p.operations * kOperations;
    const int64_t cost = turns * moves + (ahead ? 1 : turns) * works;
    if (cost >= least) continue;
    least = cost;
    best = {static_cast<int>(rows), static_cast<int>(size), ahead, down, pieces, clusters};
  }
  return best;
}

// A core's tiles: load(piece, to) starts the transfers into a buffer, work(piece, buffer, out) computes, and starts that of `out`.
template <typename Load, typename Work>
__device__ void each_tile(const Tiling& t, float* lm, Load load, Work work) {
  float *now = lm, *next = lm + t.ahead * t.size, *out = next + t.size;
  int64_t piece = unit();
  if (piece < t.pieces) load(piece, now);
  for (; piece < t.pieces; piece += units()) {
    const bool more = piece + units() < t.pieces;
    mfence();
    if (t.ahead && more) load(piece + units(), next);
    work(piece, now, out);
    if (!t.ahead && more) load(piece + units(), now);
    std::swap(now, next);
  }
  mfence();
}

}  // namespace api
}  // namespace xpu
}  // namespace baidu
#endif  // XPU_KERNELS_TILES_H_
