// conv2d.backward_data as an implicit matrix product:
// dx[pixel, channel] = sum over (tap, filter) of dy's patch * w.
//
// Versions (nothing is measured yet: predictions only)
//   1  The main loop of conv2d_forward.cu. A strided convolution is one product for each phase of its stride,
//      so that no tap is multiplied with the zeros between the outputs: at stride 2 a quarter of the work.
//   2  Patches through the first-level cache, as in conv2d_forward.cu.
//   Not done: wgmma and TMA. The phases of a stride differ in their taps, and
//   so do the times of their blocks.
//
// Floor on an H200 (4.3 TB/s as copies measure, 67 TFLOP/s fp32, 495 TFLOP/s tf32 by the datasheet):
//   seed nets' conv2, 14x14x64 -> 32, 3x3   batch 64     4.9 MB, masked 6.5, 0.46 GFLOP: 1.1 us, fp32 6.9 us
//                                           batch 1024   77 MB, masked 103, 7.4 GFLOP: 18 us, fp32 110 us
//
// Compiled for sm_90 (nvcc 13.0; no spills, also for sm_80 and sm_120): registers, KiB of shared memory and
// warps resident on a multiprocessor, for each tile of plan.hpp; the unaligned kernel is 32x32.
//
//            32x32       64x32       64x64       128x64
//   fp32    60 37 24    85 53 16   128 52 16   185 76  8
//   tf32    55 39 20    63 55 16    96 54 16   168 78  8
//   bf16    48 29 28    62 37 24    71 40 20   128 52 16

#include "kernels/gemm/backward_data.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

// Grid: tiles of inputs, tiles of channels, phases * splits.
template <class Math, class TileShape, bool aligned>
__global__ void __launch_bounds__(TileShape::kThreads) implicit_gemm_backward_data_kernel(
    const __grid_constant__ BackwardDataParams<typename Math::Activation> p) {
  QUERN_SHARED(taps, Tap[kMaxTaps]);
  backward_data_block<Math, TileShape, aligned>(p, BlockPlace::of_grid(), taps);
}

template <class Math>
void backward_data(const Conv2dBackwardDataArgs& args, Stream stream) {
  using T = typename Math::Activation;
  const GemmProblem problem = conv2d_backward_data_problem(args.shape, kChunkOf<T>);
  const GemmPlan& plan = args.plan;
  for_tile(plan.tile, problem.aligned, [&]<class TileShape, bool is_aligned>() {
    const dim3 grid(static_cast<unsigned>(tiles_m(problem, plan.tile)),
                    static_cast<unsigned>(tiles_n(problem, plan.tile)),
                    static_cast<unsigned>(problem.batches * plan.splits));
    launch_dependent(QUERN_KERNEL(implicit_gemm_backward_data_kernel<Math, TileShape, is_aligned>), grid,
                     TileShape::kThreads, BackwardDataOperands<Math, TileShape, is_aligned>::kSharedBytes,
                     stream, backward_data_params<T>(args));
  });
}

}  // namespace

void conv2d_backward_data_fp32(const Conv2dBackwardDataArgs& args, Stream stream) {
  backward_data<Fp32Math>(args, stream);
}
void conv2d_backward_data_tf32(const Conv2dBackwardDataArgs& args, Stream stream) {
  backward_data<Tf32Math>(args, stream);
}
void conv2d_backward_data_bf16(const Conv2dBackwardDataArgs& args, Stream stream) {
  backward_data<Bf16Math>(args, stream);
}

}  // namespace quern::kernels::QUERN_TARGET
