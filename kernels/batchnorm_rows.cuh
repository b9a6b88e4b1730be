#pragma once

/// Reductions over the rows of a matrix [rows, channels], shared by batch normalisation's forward and
/// backward.

#include "kernels/batchnorm.cuh"
#include "kernels/platform.cuh"
#include "kernels/warp.cuh"

namespace quern::kernels::QUERN_TARGET {

/// A thread's part of its block's rows: `lanes` threads side by side along the channels, the others along the
/// rows.
struct RowLane {
  int channel;   // the first of the thread's channels
  int row_lane;  // place along the rows
  int row_step;
  std::int64_t row_begin, row_end;
  bool active;  // has channels at all

  /// In the part `group` along the channels and `row_block` along the rows.
  __device__ __forceinline__ RowLane(const RowTiling& tiling, std::int64_t rows, int channels, int group,
                                     int row_block) {
    const int lane = static_cast<int>(threadIdx.x) % tiling.lanes;
    channel = (group * tiling.lanes + lane) * tiling.width;
    row_lane = static_cast<int>(threadIdx.x) / tiling.lanes;
    row_step = kNormThreads / tiling.lanes;
    const std::int64_t first = static_cast<std::int64_t>(row_block) * tiling.rows_per_block;
    row_begin = first + row_lane;
    row_end = first + tiling.rows_per_block < rows ? first + tiling.rows_per_block : rows;
    active = channel < channels;
  }
};

/// Count, mean and sum of squared deviations of `width` channels.
template <int width>
struct Moments {
  float count;
  float mean[width], m2[width];

  __device__ __forceinline__ void merge(const Moments& other) {
    const float total = count + other.count;
    if (other.count == 0.0f) return;
    const float share = other.count / total;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float delta = other.mean[i] - mean[i];
      mean[i] = fmaf(delta, share, mean[i]);
      m2[i] += other.m2[i] + delta * delta * count * share;
    }
    count = total;
  }
};

/// A tree over the row lanes in shared memory, in a fixed order. Afterwards parts[t] of the threads with
/// row_lane 0 hold the block's result. Called by all threads.
template <class Part, class Merge>
__device__ __forceinline__ void reduce_rows(const RowTiling& tiling, Part* parts, const Part& own,
                                            const Merge& merge) {
  const int thread = static_cast<int>(threadIdx.x);
  parts[thread] = own;
  for (int distance = kNormThreads / 2; distance >= tiling.lanes; distance /= 2) {
    __syncthreads();
    if (thread < distance) merge(parts[thread], parts[thread + distance]);
  }
  __syncthreads();
}

}  // namespace quern::kernels::QUERN_TARGET
