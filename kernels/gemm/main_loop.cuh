#pragma once

/// The loop over k: tiles of the next steps are on their way while one is multiplied.

#include "kernels/gemm/tile.cuh"

namespace quern::kernels::QUERN_TARGET {

/// Multiplies `steps` tiles of depth kStepDepth from k = first_k on into `multiply`. The operands' shared
/// memory holds kStages tiles each. One barrier a step: it says both that the step's tile has arrived for all
/// threads and that all have done with the tile before, whose place the next copy then takes.
template <class TileShape, class OperandA, class OperandB, class Multiply>
__device__ __forceinline__ void main_loop(const OperandA& a, const OperandB& b, Multiply& multiply,
                                          typename OperandA::Layout::Element* a_tiles,
                                          typename OperandB::Layout::Element* b_tiles, int first_k, int steps,
                                          bool with_row_sums) {
  constexpr int kStages = TileShape::kStages;
  constexpr int kA = OperandA::Layout::kElements, kB = OperandB::Layout::kElements;
  const auto load = [&](int step, int stage) {
    if (step < steps) {
      a.load(a_tiles + stage * kA, first_k + step * kStepDepth);
      b.load(b_tiles + stage * kB, first_k + step * kStepDepth);
    }
    cp_async_commit();  // a group a step, empty at the end, so that the wait below counts right
  };

#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) load(step, step);
  int stage = 0, free_stage = kStages - 1;
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    load(step + kStages - 1, free_stage);
    multiply.step(a_tiles + stage * kA, b_tiles + stage * kB, with_row_sums);
    free_stage = stage;
    stage = stage + 1 == kStages ? 0 : stage + 1;
  }
}

}  // namespace quern::kernels::QUERN_TARGET
