// Judges a step by its losses and gradients, and takes back what of it cannot stay: `--on-nan skip`.
//
// Versions
//   1  Up to 128 blocks look for a NaN or an infinity, each in its share; the last to arrive reads what
//      they found and brings sums and running statistics in line with what is kept of them. The optimizer
//      then reads one number. Predicted: 2 us above the launch, most of it the arrival and the last block's
//      round trips; not measured yet.
//
// Floor: 4 bytes a parameter. The seed net with batch normalisation has 422 thousand: 1.7 MB, which the
// backward has just written: second-level cache, below the launch. Independent of the batch.

#include "kernels/guard.cuh"

#include "kernels/gemm/arrival.cuh"
#include "kernels/intrinsics.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kPerThread = 8;  // elements, before there are more blocks

// Shapes: loss [rows], grads [elements], running and kept_running [statistics], verdicts [gridDim.x].
__global__ void __launch_bounds__(kThreads) guard_kernel(const __grid_constant__ GuardArgs args) {
  join_stream();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  bool bad = false;
  for (std::int64_t i = first; i < args.elements; i += stride) bad = bad || !isfinite(args.grads[i]);
  for (std::int64_t i = first; i < args.rows; i += stride) bad = bad || !isfinite(args.loss[i]);
  const int any = __syncthreads_or(bad ? 1 : 0);
  if (threadIdx.x == 0) args.verdicts[blockIdx.x] = any;
  if (!last_to_arrive(args.counters, gridDim.x)) return;

  const bool found = threadIdx.x < gridDim.x && __ldcg(args.verdicts + threadIdx.x) != 0;
  const bool skip = __syncthreads_or(found ? 1 : 0) != 0;
  for (std::int64_t i = threadIdx.x; i < args.statistics; i += kThreads) {
    if (skip)
      args.running[i] = args.kept_running[i];
    else
      args.kept_running[i] = args.running[i];
  }
  if (threadIdx.x != 0) return;
  if (skip)
    *args.metrics = *args.kept_metrics;
  else
    *args.kept_metrics = *args.metrics;
  StepGuard guard = *args.guard;
  guard.skip = skip ? 1.0 : 0.0;
  guard.skipped += guard.skip;
  guard.in_a_row = skip ? guard.in_a_row + 1.0 : 0.0;
  if (guard.in_a_row > guard.longest_row) guard.longest_row = guard.in_a_row;
  *args.guard = guard;
}
static_assert(kGuardBlocks <= kThreads, "the last block reads one verdict a thread");

}  // namespace

void guard_forward(const GuardArgs& args, Stream stream) {
  const std::int64_t most = args.elements > args.rows ? args.elements : args.rows;
  const std::int64_t wanted = (most + kThreads * kPerThread - 1) / (kThreads * kPerThread);
  const auto grid = static_cast<unsigned>(wanted < kGuardBlocks ? wanted : kGuardBlocks);
  launch_dependent(QUERN_KERNEL(guard_kernel), grid, kThreads, 0, stream, args);
}

}  // namespace quern::kernels::QUERN_TARGET
