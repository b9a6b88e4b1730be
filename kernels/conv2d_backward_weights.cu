// conv2d.backward_weights as an implicit matrix product:
// dw[filter, (r, s, c)] = sum over pixels of dy * x's patch.
//
// Versions (nothing is measured yet: predictions only)
//   1  The main loop of conv2d_forward.cu over N*P*Q, split among blocks; the last to arrive adds up
//      the parts in their order, in two levels where they are many, so that there is no second launch. The
//      bias' gradient is the row sums of A, taken from the fragments of the first column of tiles.
//   2  Patches through the first-level cache, as in conv2d_forward.cu.
//   Not done: a block that keeps an image's rows in shared memory for all taps at once, which would read x
//   and dy once instead of once a tile; clusters that add up their parts in distributed shared memory.
//
// Floor on an H200 (4.3 TB/s as copies measure, 67 TFLOP/s fp32, 495 TFLOP/s tf32 by the datasheet):
//   seed nets' conv2, 64 x (3x3x32)   batch 64     4.9 MB, 0.46 GFLOP: 1.1 us, in fp32 6.9 us
//                                     batch 1024    77 MB, 7.4 GFLOP: 18 us, in fp32 110 us
//
// Compiled for sm_90 (nvcc 13.0; no spills, also for sm_80 and sm_120): registers, KiB of shared memory and
// warps resident on a multiprocessor, for each tile of plan.hpp; the unaligned kernel is 32x32.
//
//            32x32       64x32       64x64       128x64
//   fp32    48 39 20    65 55 16    77 54 16   151 78  8
//   tf32    48 43 20    72 59 12    80 57 12   132 81  8
//   bf16    48 23 36    92 31 20    96 30 20   127 42 16

#include "kernels/gemm/backward_weights.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

// Grid: tiles of filters, tiles of weights, splits of N*P*Q.
template <class Math, class TileShape, bool aligned>
__global__ void __launch_bounds__(TileShape::kThreads) implicit_gemm_backward_weights_kernel(
    const __grid_constant__ BackwardWeightsParams<typename Math::Activation> p) {
  QUERN_SHARED(taps, Tap[kMaxTaps]);
  backward_weights_block<Math, TileShape, aligned>(p, BlockPlace::of_grid(), taps);
}

template <class Math>
void backward_weights(const Conv2dBackwardWeightsArgs& args, Stream stream) {
  using T = typename Math::Activation;
  const GemmProblem problem = conv2d_backward_weights_problem(args.shape, kChunkOf<T>);
  const GemmPlan& plan = args.plan;
  for_tile(plan.tile, problem.aligned, [&]<class TileShape, bool is_aligned>() {
    const dim3 grid(static_cast<unsigned>(tiles_m(problem, plan.tile)),
                    static_cast<unsigned>(tiles_n(problem, plan.tile)), static_cast<unsigned>(plan.splits));
    launch_dependent(QUERN_KERNEL(implicit_gemm_backward_weights_kernel<Math, TileShape, is_aligned>), grid,
                     TileShape::kThreads, BackwardWeightsOperands<Math, TileShape, is_aligned>::kSharedBytes,
                     stream, backward_weights_params<T>(args));
  });
}

}  // namespace

void conv2d_backward_weights_fp32(const Conv2dBackwardWeightsArgs& args, Stream stream) {
  backward_weights<Fp32Math>(args, stream);
}
void conv2d_backward_weights_tf32(const Conv2dBackwardWeightsArgs& args, Stream stream) {
  backward_weights<Tf32Math>(args, stream);
}
void conv2d_backward_weights_bf16(const Conv2dBackwardWeightsArgs& args, Stream stream) {
  backward_weights<Bf16Math>(args, stream);
}

}  // namespace quern::kernels::QUERN_TARGET
