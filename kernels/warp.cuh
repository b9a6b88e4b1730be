#pragma once

/// Sums and maxima over the lanes of a warp, or of equal groups of its lanes, in a fixed order. All lanes of
/// the warp must call, and all of a group get the result.

#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

inline constexpr unsigned kAllLanes = 0xffffffffu;

template <int width = 32, class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int lane = width / 2; lane > 0; lane /= 2) value += __shfl_xor_sync(kAllLanes, value, lane, width);
  return value;
}

/// NaN wins.
template <int width = 32>
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int lane = width / 2; lane > 0; lane /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, lane, width);
    value = other > value || other != other ? other : value;
  }
  return value;
}

}  // namespace quern::kernels::QUERN_TARGET
