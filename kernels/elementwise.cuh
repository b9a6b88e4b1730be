#pragma once

/// The walk that all elementwise kernels share: four elements a thread with 16-byte accesses, then the ragged
/// tail.

#include "kernels/intrinsics.cuh"
#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

inline constexpr int kElementwiseThreads = 256;

/// Blocks for `elements`: one thread for every four, and at least one block.
inline dim3 elementwise_grid(std::int64_t elements) {
  constexpr std::int64_t kPerBlock = 4 * kElementwiseThreads;
  return dim3(static_cast<unsigned>((elements + kPerBlock - 1) / kPerBlock));
}

/// Calls quad(i) for four consecutive elements, or single(i) for each element where fewer than four remain or
/// the arrays are not aligned to 16 bytes.
template <bool vectorised, class Quad, class Single>
__device__ __forceinline__ void for_each_element(std::int64_t elements, const Quad& quad,
                                                 const Single& single) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * kElementwiseThreads + threadIdx.x) * 4;
  if (vectorised && first + 4 <= elements) {
    quad(first);
    return;
  }
  for (std::int64_t i = first; i < first + 4 && i < elements; ++i) single(i);
}

}  // namespace quern::kernels::QUERN_TARGET
