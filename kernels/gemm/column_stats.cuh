#pragma once

/// Mean and biased variance of every column of a matrix whose rows are spread over blocks. Each block
/// describes its rows by (count, mean, M2 = sum of squared deviations from that mean), both taken from values
/// in registers; parts merge by Chan, Golub & LeVeque 1979: nothing is ever squared that is not a deviation.

#include "kernels/gemm/split_k.cuh"

namespace quern::kernels::QUERN_TARGET {

/// Records of parts and groups of parts: float[columns] means, float[columns] M2, float[column_tiles] counts.
struct StatsMerge {
  MergeTree tree;                ///< over the blocks that share a column
  float* records = nullptr;      ///< tree.count + tree.groups()
  unsigned* counters = nullptr;  ///< tree.counters() for each column tile
  int columns = 0, column_tiles = 1;
  float* stats = nullptr;  ///< [2, columns]: mean, biased variance; null where none are asked for
};

__device__ __forceinline__ float* stats_record(const StatsMerge& merge, int index) {
  return merge.records + static_cast<std::int64_t>(index) * (2 * merge.columns + merge.column_tiles);
}

/// Called by all threads, once the block has written mean and M2 of its columns (`first` to `first + count` -
/// 1) and its number of rows to record `part`. The last blocks merge; the very last writes the statistics.
__device__ __forceinline__ void merge_stats(const StatsMerge& merge, int part, int column_tile, int first,
                                            int count) {
  struct Moments {
    float rows, mean, m2;
  };
  const auto merged = [&](int begin, int end, int column) {
    Moments sum{0, 0, 0};
    for (int i = begin; i < end; ++i) {
      const float* const record = stats_record(merge, i);
      const float rows = __ldcg(record + 2 * merge.columns + column_tile);
      sum.rows += rows;
      sum.mean += rows * __ldcg(record + column);
    }
    sum.mean /= sum.rows;
    for (int i = begin; i < end; ++i) {
      const float* const record = stats_record(merge, i);
      const float deviation = __ldcg(record + column) - sum.mean;
      sum.m2 += __ldcg(record + merge.columns + column) +
                __ldcg(record + 2 * merge.columns + column_tile) * (deviation * deviation);
    }
    return sum;
  };
  const MergeTree& tree = merge.tree;
  unsigned* const counters = merge.counters + column_tile * tree.counters();
  const int group = tree.group_of(part);
  const int begin = tree.group_begin(group), end = tree.group_end(group);
  const bool one_level = tree.groups() == 1;

  if (!last_to_arrive(counters + group, static_cast<unsigned>(end - begin))) return;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    const int column = first + i;
    if (column >= merge.columns) break;
    const Moments sum = merged(begin, end, column);
    if (one_level) {
      merge.stats[column] = sum.mean;
      merge.stats[merge.columns + column] = sum.m2 / sum.rows;
    } else {
      float* const record = stats_record(merge, tree.count + group);
      record[column] = sum.mean;
      record[merge.columns + column] = sum.m2;
      if (i == 0) record[2 * merge.columns + column_tile] = sum.rows;
    }
  }
  if (one_level) return;
  if (!last_to_arrive(counters + tree.groups(), static_cast<unsigned>(tree.groups()))) return;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    const int column = first + i;
    if (column >= merge.columns) break;
    const Moments sum = merged(tree.count, tree.count + tree.groups(), column);
    merge.stats[column] = sum.mean;
    merge.stats[merge.columns + column] = sum.m2 / sum.rows;
  }
}

/// The same for a tile in the registers of a matrix product: writes the record of row tile `tile_m` and
/// merges. `rows` of the tile's rows count; values of the others are ignored.
template <class TileShape, class Multiply>
__device__ __forceinline__ void tile_stats(const StatsMerge& merge, Multiply& multiply, int rows, int tile_m,
                                           int tile_n) {
  QUERN_SHARED(totals, float[2][TileShape::kWarpsM][TileShape::kN]);
  float sums[Multiply::kGroups][Multiply::kVector];
  // Adds up what a thread sums over its rows into sums over the tile's rows.
  const auto add_up = [&](auto& warps, const auto& term) {
#pragma unroll
    for (int j = 0; j < Multiply::kGroups; ++j)
#pragma unroll
      for (int v = 0; v < Multiply::kVector; ++v) {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < Multiply::kRows; ++i)
          if (multiply.row(i) < rows) sum += term(multiply.value(i, j, v), sums[j][v]);
#pragma unroll
        for (int lanes = 16; lanes >= 4; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
        if (multiply.at().group == 0) warps[multiply.at().warp_m][multiply.column(j) + v] = sum;
      }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < Multiply::kGroups; ++j)
#pragma unroll
      for (int v = 0; v < Multiply::kVector; ++v) {
        sums[j][v] = 0;
#pragma unroll
        for (int w = 0; w < TileShape::kWarpsM; ++w) sums[j][v] += warps[w][multiply.column(j) + v];
      }
  };

  const auto count = static_cast<float>(rows);
  float* const record = stats_record(merge, tile_m);
  const auto write = [&](float* out) {
    if (multiply.at().warp_m != 0 || multiply.at().group != 0) return;
#pragma unroll
    for (int j = 0; j < Multiply::kGroups; ++j)
#pragma unroll
      for (int v = 0; v < Multiply::kVector; ++v) {
        const int column = tile_n * TileShape::kN + multiply.column(j) + v;
        if (column < merge.columns) out[column] = sums[j][v];
      }
  };
#pragma unroll
  for (int j = 0; j < Multiply::kGroups; ++j)
#pragma unroll
    for (int v = 0; v < Multiply::kVector; ++v) sums[j][v] = 0;
  add_up(totals[0], [](float value, float) { return value; });
#pragma unroll
  for (int j = 0; j < Multiply::kGroups; ++j)
#pragma unroll
    for (int v = 0; v < Multiply::kVector; ++v) sums[j][v] /= count;
  write(record);
  add_up(totals[1], [](float value, float mean) { return (value - mean) * (value - mean); });
  write(record + merge.columns);
  if (threadIdx.x == 0) record[2 * merge.columns + tile_n] = count;
  merge_stats(merge, tile_m, tile_n, tile_n * TileShape::kN, TileShape::kN);
}

}  // namespace quern::kernels::QUERN_TARGET
