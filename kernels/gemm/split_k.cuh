#pragma once

/// Sums over k that several blocks share: partial sums through global memory, merged in a fixed order.

#include "kernels/gemm/arrival.cuh"
#include "kernels/gemm/plan.hpp"
#include "kernels/gemm/tile.cuh"

namespace quern::kernels::QUERN_TARGET {

inline MergeTree merge_tree(std::int64_t count) {
  return MergeTree{static_cast<int>(count), merge_group_size(count)};
}

/// Where the splits of a product leave their partial sums. Per tile of D: tree.count + tree.groups() parts of
/// kM * kN floats in the order in which the block's threads hold them, so that every access is coalesced
/// whatever that is.
struct SplitMerge {
  MergeTree tree;
  float* partials = nullptr;
  float* row_partials = nullptr;  ///< likewise for row sums: kM floats a part, for each row of tiles
  unsigned* counters = nullptr;   ///< tree.counters() for each tile
};

/// Merges this block's sums of tile `tile` (its row sums belong to row of tiles `tile_m`) with those of the
/// other splits. True in the block that ends up with the whole sums; the others have nothing left to do.
template <class TileShape, class Multiply>
class SplitMerger {
 public:
  static constexpr int kTileElements = TileShape::kM * TileShape::kN;

  __device__ __forceinline__ SplitMerger(const SplitMerge& merge, int tile, int tile_m, bool with_row_sums)
      : tree_(merge.tree),
        counters_(merge.counters + static_cast<std::int64_t>(tile) * tree_.counters()),
        with_row_sums_(with_row_sums) {
    const std::int64_t parts = tree_.count + tree_.groups();
    partials_ = merge.partials + tile * parts * kTileElements;
    row_partials_ = merge.row_partials + tile_m * parts * TileShape::kM;
  }

  __device__ __forceinline__ bool merge(Multiply& multiply, float (&row_sums)[Multiply::kRows],
                                        int split) const {
    store(multiply, row_sums, split);
    const int group = tree_.group_of(split);
    const int begin = tree_.group_begin(group), end = tree_.group_end(group);
    if (!last_to_arrive(counters_ + group, static_cast<unsigned>(end - begin))) return false;
    add_up(multiply, row_sums, begin, end);
    if (tree_.groups() == 1) return true;
    store(multiply, row_sums, tree_.count + group);
    if (!last_to_arrive(counters_ + tree_.groups(), static_cast<unsigned>(tree_.groups()))) return false;
    add_up(multiply, row_sums, tree_.count, tree_.count + tree_.groups());
    return true;
  }

 private:
  static constexpr int kVector = Multiply::kVector;
  struct alignas(kVector * sizeof(float)) Vector {
    float v[kVector];
  };

  __device__ __forceinline__ Vector* part(int index) const {
    return reinterpret_cast<Vector*>(partials_ + static_cast<std::int64_t>(index) * kTileElements) +
           threadIdx.x;
  }

  /// One lane of each row's warps writes its row sum: the first column of warps, the first member.
  __device__ __forceinline__ void store(Multiply& multiply, const float (&row_sums)[Multiply::kRows],
                                        int index) const {
    Vector* const out = part(index);
#pragma unroll
    for (int i = 0; i < Multiply::kRows; ++i)
#pragma unroll
      for (int j = 0; j < Multiply::kGroups; ++j) {
        Vector vector;
#pragma unroll
        for (int v = 0; v < kVector; ++v) vector.v[v] = multiply.value(i, j, v);
        out[(i * Multiply::kGroups + j) * TileShape::kThreads] = vector;
      }
    if (with_row_sums_ && multiply.at().warp_n == 0 && multiply.at().member == 0)
#pragma unroll
      for (int i = 0; i < Multiply::kRows; ++i)
        row_partials_[static_cast<std::int64_t>(index) * TileShape::kM + multiply.row(i)] = row_sums[i];
  }

  __device__ __forceinline__ void add_up(Multiply& multiply, float (&row_sums)[Multiply::kRows], int begin,
                                         int end) const {
    multiply.clear();
#pragma unroll
    for (int i = 0; i < Multiply::kRows; ++i) row_sums[i] = 0;
    for (int index = begin; index < end; ++index) {
      const Vector* const in = part(index);
#pragma unroll
      for (int i = 0; i < Multiply::kRows; ++i)
#pragma unroll
        for (int j = 0; j < Multiply::kGroups; ++j) {
          const Vector vector = load_global(in + (i * Multiply::kGroups + j) * TileShape::kThreads);
#pragma unroll
          for (int v = 0; v < kVector; ++v) multiply.value(i, j, v) += vector.v[v];
        }
      if (with_row_sums_)
#pragma unroll
        for (int i = 0; i < Multiply::kRows; ++i)
          row_sums[i] +=
              __ldcg(row_partials_ + static_cast<std::int64_t>(index) * TileShape::kM + multiply.row(i));
    }
  }

  /// Past the first-level cache.
  static __device__ __forceinline__ Vector load_global(const Vector* address) {
    Vector vector;
    if constexpr (kVector == 4) {
      const float4 q = __ldcg(reinterpret_cast<const float4*>(address));
      vector.v[0] = q.x, vector.v[1] = q.y, vector.v[2] = q.z, vector.v[3] = q.w;
    } else {
      const float2 q = __ldcg(reinterpret_cast<const float2*>(address));
      vector.v[0] = q.x, vector.v[1] = q.y;
    }
    return vector;
  }

  MergeTree tree_;
  unsigned* counters_;
  bool with_row_sums_;
  float* partials_;
  float* row_partials_;
};

}  // namespace quern::kernels::QUERN_TARGET
