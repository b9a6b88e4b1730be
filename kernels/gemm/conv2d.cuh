#pragma once

/// What the three directions of an implicit convolution share: tap tables, the share of a split, the choice
/// of a tile's kernel.

#include <type_traits>

#include "kernels/conv2d.cuh"
#include "kernels/gemm/column_stats.cuh"
#include "kernels/gemm/main_loop.cuh"
#include "kernels/gemm/math.cuh"
#include "kernels/gemm/operands.cuh"
#include "kernels/gemm/split_k.cuh"

namespace quern::kernels::QUERN_TARGET {

/// Taps of a filter that step evenly over an image along both axes: tap (i, j) reads `shift_* ` times (i, j)
/// from the patch's origin and has weights (first_h + i * period_h, first_w + j * period_w).
struct TapGrid {
  int count_h = 0, count_w = 0;
  int shift_h = 1, shift_w = 1;
  int first_h = 0, first_w = 0;
  int period_h = 1, period_w = 1;
};

/// Fills the block's table. Followed by a __syncthreads() before it is read.
__device__ __forceinline__ void fill_taps(Tap* taps, const TapGrid& grid, int image_width, int channels,
                                          int filter_width) {
  const int count = grid.count_h * grid.count_w;
  for (int t = static_cast<int>(threadIdx.x); t < count; t += static_cast<int>(blockDim.x)) {
    const int i = t / grid.count_w, j = t % grid.count_w;
    Tap tap;
    tap.shift_h = i * grid.shift_h;
    tap.shift_w = j * grid.shift_w;
    tap.offset = (tap.shift_h * image_width + tap.shift_w) * channels;
    tap.filter = (grid.first_h + i * grid.period_h) * filter_width + grid.first_w + j * grid.period_w;
    taps[t] = tap;
  }
}

/// Which tile of D a block computes, of how many; `layer` counts what lies beyond D: phases and splits.
struct BlockPlace {
  int tile_m, tile_n, layer;
  int tiles_m, tiles_n;

  /// In a grid of tiles along m, tiles along n, layers.
  static __device__ __forceinline__ BlockPlace of_grid() {
    return {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z),
            static_cast<int>(gridDim.x), static_cast<int>(gridDim.y)};
  }
  /// The same blocks in one row.
  static __device__ __forceinline__ BlockPlace of_row(int block, int tiles_m, int tiles_n) {
    const int row = block / tiles_m;
    return {block % tiles_m, row % tiles_n, row / tiles_n, tiles_m, tiles_n};
  }
  /// The tile's number among those of its phase.
  __device__ __forceinline__ int tile() const { return tile_n * tiles_m + tile_m; }
};

/// The steps of the main loop that a split does.
struct StepRange {
  int first, count;
  __device__ __forceinline__ StepRange(int depth, int split, int splits) {
    const int steps = (depth + kStepDepth - 1) / kStepDepth;
    const int each = (steps + splits - 1) / splits;
    first = min(split * each, steps);
    count = min(each, steps - first);
  }
};

/// Writes kVector neighbouring values, together where `vector` says that all are there and aligned.
template <int count, class T>
__device__ __forceinline__ void store_vector(T* address, const float (&values)[count], bool vector,
                                             int there) {
  if (vector) {
    if constexpr (sizeof(T) == 4 && count == 4) {
      store4(address, make_float4(values[0], values[1], values[2], values[3]));
    } else if constexpr (sizeof(T) == 4) {
      static_assert(count == 2);
      *reinterpret_cast<float2*>(address) = make_float2(values[0], values[1]);
    } else {
      static_assert(count == 2);
      *reinterpret_cast<std::uint32_t*>(address) = pack_bf16x2(values[0], values[1]);
    }
    return;
  }
#pragma unroll
  for (int v = 0; v < count; ++v)
    if (v < there) address[v] = stored_as<T>(values[v]);
}

template <class T>
inline constexpr int kChunkOf = 16 / static_cast<int>(sizeof(T));

template <class OperandA, class OperandB, class TileShape>
constexpr std::size_t shared_bytes() {
  return TileShape::kStages * (OperandA::Layout::kElements * sizeof(typename OperandA::Layout::Element) +
                               OperandB::Layout::kElements * sizeof(typename OperandB::Layout::Element));
}

/// Calls run.template operator()<TileShape, aligned>() for the tile of a plan.
template <class Run>
void for_tile(GemmTile tile, bool aligned, const Run& run) {
  static_assert(
      extent_of(GemmTile::m32n32).m == Tile32x32::kM && extent_of(GemmTile::m32n32).n == Tile32x32::kN &&
      extent_of(GemmTile::m64n32).m == Tile64x32::kM && extent_of(GemmTile::m64n32).n == Tile64x32::kN &&
      extent_of(GemmTile::m64n64).m == Tile64x64::kM && extent_of(GemmTile::m64n64).n == Tile64x64::kN &&
      extent_of(GemmTile::m128n64).m == Tile128x64::kM && extent_of(GemmTile::m128n64).n == Tile128x64::kN);
  if (!aligned) return run.template operator()<Tile32x32, false>();
  switch (tile) {
    case GemmTile::m128n64:
      return run.template operator()<Tile128x64, true>();
    case GemmTile::m64n64:
      return run.template operator()<Tile64x64, true>();
    case GemmTile::m64n32:
      return run.template operator()<Tile64x32, true>();
    case GemmTile::m32n32:
      return run.template operator()<Tile32x32, true>();
  }
}

/// Cuts the workspace of a plan into its parts. The order is that of conv2d.cuh's *_workspace and *_counters.
class WorkspaceCutter {
 public:
  WorkspaceCutter(float* workspace, unsigned* counters) : workspace_(workspace), counters_(counters) {}

  SplitMerge splits(const GemmProblem& problem, const GemmPlan& plan, bool row_sums) {
    SplitMerge merge;
    if (plan.splits == 1) return merge;
    merge.tree = merge_tree(plan.splits);
    merge.partials = workspace_;
    workspace_ += split_floats(problem, plan, 0);
    merge.row_partials = workspace_;
    workspace_ += split_floats(problem, plan, row_sums ? 1 : 0) - split_floats(problem, plan, 0);
    merge.counters = counters_;
    counters_ += split_counters(problem, plan);
    return merge;
  }

  StatsMerge stats(std::int64_t row_tiles, std::int64_t column_tiles, std::int64_t columns,
                   float* stats) const {
    StatsMerge merge;
    if (stats == nullptr) return merge;
    merge.tree = merge_tree(row_tiles);
    merge.records = workspace_;
    merge.counters = counters_;
    merge.columns = static_cast<int>(columns);
    merge.column_tiles = static_cast<int>(column_tiles);
    merge.stats = stats;
    return merge;
  }

 private:
  float* workspace_;
  unsigned* counters_;
};

}  // namespace quern::kernels::QUERN_TARGET
