#pragma once

/// Reading a batch where it lies in its dataset, as input_batch.cu would have copied it.

#include "kernels/dataset.hpp"
#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

__device__ __forceinline__ std::int64_t dataset_index(const Dataset& dataset, int sample) {
  return dataset.order[dataset.step->order_offset + static_cast<unsigned>(sample)];
}

/// Divisions, not multiplications by a reciprocal: pixel / 255 is then the correctly rounded quotient on
/// every device, and the same number as that of a batch that was written.
__device__ __forceinline__ float normalised(float pixel, float mean, float stddev) {
  return (pixel / 255.0f - mean) / stddev;
}

}  // namespace quern::kernels::QUERN_TARGET
