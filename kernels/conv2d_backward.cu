// conv2d.backward: the products of conv2d_backward_data.cu and conv2d_backward_weights.cu in one launch.
//
// Versions (nothing is measured yet: predictions only)
//   1  One row of blocks, the first of which do one product and the others the other. Which comes first is a
//      matter of length: the blocks with more steps start earlier, so that the short ones fill the gaps at
//      the end. Both products have one tile shape, so that a kernel holds two bodies and not every pair of
//      tiles; their sums, splits and merges are those of the separate kernels, bit for bit. Saves a launch
//      and the tail of the first product, in which most multiprocessors idle: predicted 2 us of conv2's 6 at
//      batch 64.
//   Not done: dy read once for both products. A block would need all filters and all channels of its pixels.
//
// Floor on an H200 (4.3 TB/s as copies measure, 67 TFLOP/s fp32, 495 TFLOP/s tf32 by the datasheet):
//   seed nets' conv2, 14x14x32 <- 64, 3x3   batch 64     6.6 MB, 0.92 GFLOP: 1.9 us, in fp32 14 us
//                                           batch 1024   103 MB, 15 GFLOP: 30 us, in fp32 220 us
//   dense1, 3136 <- 128                     batch 64     4.9 MB, 0.10 GFLOP: 1.1 us, in fp32 1.5 us
//
// Compiled for sm_90 (nvcc 13.0; no spills, also for sm_80 and sm_120): registers, KiB of shared memory and
// warps resident on a multiprocessor, for each tile of plan.hpp; the unaligned kernel is 32x32.
//
//            32x32       64x32       64x64       128x64
//   fp32    TODO

#include "kernels/gemm/backward_data.cuh"
#include "kernels/gemm/backward_weights.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

template <class T>
struct BackwardParams {
  BackwardDataParams<T> data;
  BackwardWeightsParams<T> weights;
  int data_tiles_m, data_tiles_n, weights_tiles_m, weights_tiles_n;
  int first_blocks;  // of the product that comes first
  bool data_first;
};

// Grid: the blocks of both products in a row.
template <class Math, class TileShape, bool aligned>
__global__ void __launch_bounds__(TileShape::kThreads, 1)
    implicit_gemm_backward_kernel(const __grid_constant__ BackwardParams<typename Math::Activation> p) {
  QUERN_SHARED(taps, Tap[kMaxTaps]);
  const auto block = static_cast<int>(blockIdx.x);
  const bool first = block < p.first_blocks;
  const int own = first ? block : block - p.first_blocks;
  if (first == p.data_first)
    backward_data_block<Math, TileShape, aligned>(
        p.data, BlockPlace::of_row(own, p.data_tiles_m, p.data_tiles_n), taps);
  else
    backward_weights_block<Math, TileShape, aligned>(
        p.weights, BlockPlace::of_row(own, p.weights_tiles_m, p.weights_tiles_n), taps);
}

template <class Math>
void backward(const Conv2dBackwardArgs& args, Stream stream) {
  using T = typename Math::Activation;
  Conv2dBackwardDataArgs data = args.data;
  Conv2dBackwardWeightsArgs weights = args.weights;
  data.workspace = args.workspace;
  data.counters = args.counters;
  weights.workspace = args.workspace + conv2d_backward_data_workspace(data) / sizeof(float);
  weights.counters = args.counters + conv2d_backward_data_counters(data);

  const GemmProblem to_data = conv2d_backward_data_problem(data.shape, kChunkOf<T>);
  const GemmProblem to_weights = conv2d_backward_weights_problem(weights.shape, kChunkOf<T>);
  const GemmTile tile = data.plan.tile;
  const auto blocks = [&](const GemmProblem& problem, const GemmPlan& plan) {
    return static_cast<int>(tiles(problem, tile) * plan.splits);
  };
  const auto steps = [](const GemmProblem& problem, const GemmPlan& plan) {
    return ceil_div(ceil_div(problem.depth, kStepDepth), plan.splits);
  };
  BackwardParams<T> p{};
  p.data = backward_data_params<T>(data);
  p.weights = backward_weights_params<T>(weights);
  p.data_tiles_m = static_cast<int>(tiles_m(to_data, tile));
  p.data_tiles_n = static_cast<int>(tiles_n(to_data, tile));
  p.weights_tiles_m = static_cast<int>(tiles_m(to_weights, tile));
  p.weights_tiles_n = static_cast<int>(tiles_n(to_weights, tile));
  p.data_first = steps(to_data, data.plan) >= steps(to_weights, weights.plan);
  const int data_blocks = blocks(to_data, data.plan), weights_blocks = blocks(to_weights, weights.plan);
  p.first_blocks = p.data_first ? data_blocks : weights_blocks;

  for_tile(tile, to_data.aligned && to_weights.aligned, [&]<class TileShape, bool is_aligned>() {
    constexpr std::size_t kSharedBytes =
        std::max(BackwardDataOperands<Math, TileShape, is_aligned>::kSharedBytes,
                 BackwardWeightsOperands<Math, TileShape, is_aligned>::kSharedBytes);
    launch_dependent(QUERN_KERNEL(implicit_gemm_backward_kernel<Math, TileShape, is_aligned>),
                     static_cast<unsigned>(data_blocks + weights_blocks), TileShape::kThreads, kSharedBytes,
                     stream, p);
  });
}

}  // namespace

void conv2d_backward_fp32(const Conv2dBackwardArgs& args, Stream stream) {
  backward<Fp32Math>(args, stream);
}
void conv2d_backward_tf32(const Conv2dBackwardArgs& args, Stream stream) {
  backward<Tf32Math>(args, stream);
}
void conv2d_backward_bf16(const Conv2dBackwardArgs& args, Stream stream) {
  backward<Bf16Math>(args, stream);
}

}  // namespace quern::kernels::QUERN_TARGET
