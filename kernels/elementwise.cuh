#pragma once

/// The walk that all elementwise kernels share: 16 bytes a thread and array, then the ragged tail.

#include "kernels/activation.cuh"

namespace quern::kernels::QUERN_TARGET {

inline constexpr int kElementwiseThreads = 256;

/// Blocks for `elements` of type T: one thread for every pack, and at least one block.
template <class T>
dim3 elementwise_grid(std::int64_t elements) {
  constexpr std::int64_t kPerBlock = std::int64_t{kPackOf<T>} * kElementwiseThreads;
  return dim3(static_cast<unsigned>((elements + kPerBlock - 1) / kPerBlock));
}

/// Calls step<kPackOf<T>>(i) for a pack of elements that begins at i, or step<1>(i) for each element where
/// fewer remain or the arrays are not aligned to 16 bytes.
template <class T, bool vectorised, class Step>
__device__ __forceinline__ void for_each_pack(std::int64_t elements, const Step& step) {
  constexpr int kPack = kPackOf<T>;
  const std::int64_t first =
      (static_cast<std::int64_t>(blockIdx.x) * kElementwiseThreads + threadIdx.x) * kPack;
  if (vectorised && first + kPack <= elements) {
    step.template operator()<kPack>(first);
    return;
  }
  for (std::int64_t i = first; i < first + kPack && i < elements; ++i) step.template operator()<1>(i);
}

}  // namespace quern::kernels::QUERN_TARGET
