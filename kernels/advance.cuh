#pragma once

/// Moving the step's scalars on, as the last thing a kernel does (`advance` in quern/op.hpp).

#include "kernels/advance_args.hpp"
#include "kernels/gemm/arrival.cuh"
#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

/// Called by every thread of every block after its last look at the scalars. The block that arrives last
/// writes them: all others have read by then, and those of the next launch read after this one has ended.
__device__ __forceinline__ void advance_step(const AdvanceArgs& args, unsigned* counter) {
  if (args.steps == nullptr) return;
  if (!last_to_arrive(counter, gridDim.x) || threadIdx.x != 0) return;
  const std::uint32_t next = args.step->index + 1;
  *args.step = args.steps[next < args.count ? next : args.count - 1];
}

}  // namespace quern::kernels::QUERN_TARGET
