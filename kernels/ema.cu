// Exponential moving average of all weights and running statistics, in one launch.
//
// Versions
//   1  Four elements a thread, 16-byte accesses, the decay read from device memory so that a captured step
//      can be replayed. Predicted at the floor; not measured yet.
//   2  The last block moves the step's scalars on (see optimizer.cu).
//
// Floor: 12 bytes an element. The seed net with batch normalisation has 422 thousand: 5.1 MB, which stay in
// an H200's second-level cache between steps; from memory 1.1 us at 4.8 TB/s, less than the launch.
// Independent of the batch.

#include "kernels/ema.cuh"

#include "kernels/advance.cuh"
#include "kernels/elementwise.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

// average + (1 - decay) * (value - average): one rounding of the difference, exact where value equals
// average.
__device__ __forceinline__ float move(float average, float value, float gain) {
  return fmaf(gain, value - average, average);
}

template <bool vectorised>
__global__ void __launch_bounds__(kElementwiseThreads)
    ema_forward_kernel(const StepScalars* step, const float* values, const float* average, float* updated,
                       std::int64_t elements, const StepGuard* guard, const AdvanceArgs advance,
                       unsigned* counter) {
  join_stream();
  const float gain = 1.0f - step->ema_decay;
  const bool skip = guard != nullptr && guard->skip != 0;
  for_each_pack<float, vectorised>(skip ? 0 : elements, [&]<int width>(std::int64_t i) {
    const Pack<width> v = load_pack<width>(values + i);
    Pack<width> a = load_pack<width>(average + i);
#pragma unroll
    for (int j = 0; j < width; ++j) a.v[j] = move(a.v[j], v.v[j], gain);
    store_pack(updated + i, a);
  });
  advance_step(advance, counter);
}

}  // namespace

void ema_forward(const EmaForwardArgs& args, Stream stream) {
  if (args.elements == 0) return;
  const bool vectorised = aligned16(args.values) && aligned16(args.average) && aligned16(args.updated);
  launch_dependent(
      vectorised ? QUERN_KERNEL(ema_forward_kernel<true>) : QUERN_KERNEL(ema_forward_kernel<false>),
      elementwise_grid<float>(args.elements), kElementwiseThreads, 0, stream, args.step, args.values,
      args.average, args.updated, args.elements, args.guard, args.advance, args.counters);
}

}  // namespace quern::kernels::QUERN_TARGET
