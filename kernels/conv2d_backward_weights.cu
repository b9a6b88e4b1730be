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

#include "kernels/gemm/conv2d.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

template <class T>
struct BackwardWeightsParams {
  const T* dy;
  Image<T> x;
  PatchGrid grid;
  int origin_h, origin_w;
  TapGrid taps;
  float* dw;
  float* dbias;  // or null
  int filters, columns;
  bool vector;
  SplitMerge merge;
};

// A: dy [K, N*P*Q]; B: patches of x [N*P*Q, R*S*C]; D: dw [K, R*S*C]. Grid: tiles of filters, tiles of
// weights, splits of N*P*Q. The first column of blocks adds up dy's columns as they pass by: the bias'
// gradient.
template <class Math, class TileShape, bool aligned>
__global__ void __launch_bounds__(TileShape::kThreads) implicit_gemm_backward_weights_kernel(
    const __grid_constant__ BackwardWeightsParams<typename Math::Activation> p) {
  using T = typename Math::Activation;
  constexpr int kAccess = aligned ? kChunkOf<T> : 1;
  using OperandA = GradientColumns<T, kAccess, TileShape, Math::kActivationPadding>;
  using OperandB = PatchColumns<T, kAccess, TileShape, Math::kActivationPadding>;
  using Multiply =
      typename Math::template Multiply<TileShape, typename OperandA::Layout, typename OperandB::Layout, true>;
  DynamicShared shared;
  T* const a_tiles = shared.take<T, 128>(TileShape::kStages * OperandA::Layout::kElements);
  T* const b_tiles = shared.take<T, 128>(TileShape::kStages * OperandB::Layout::kElements);
  QUERN_SHARED(taps, Tap[kMaxTaps]);

  const int thread = static_cast<int>(threadIdx.x);
  const int tile_m = static_cast<int>(blockIdx.x), tile_n = static_cast<int>(blockIdx.y);
  const int split = static_cast<int>(blockIdx.z);
  const int first_filter = tile_m * TileShape::kM, first_column = tile_n * TileShape::kN;
  const bool with_bias = p.dbias != nullptr && tile_n == 0;
  fill_taps(taps, p.taps, p.x.width, p.x.channels.divisor(), p.taps.count_w);
  __syncthreads();
  const OperandA a(p.dy, p.filters, p.grid.pixels, first_filter, thread);
  const OperandB b(p.x, p.grid, p.origin_h, p.origin_w, taps, p.columns, first_column, thread);
  Multiply multiply;
  const StepRange steps(p.grid.pixels, split, p.merge.tree.count);
  const bool adds_rows = with_bias && multiply.at().warp_n == 0;
  main_loop<TileShape>(a, b, multiply, a_tiles, b_tiles, steps.first * kStepDepth, steps.count, adds_rows);

  float row_sums[Multiply::kRows];
#pragma unroll
  for (int i = 0; i < Multiply::kRows; ++i) row_sums[i] = multiply.row_sum(i);
  if (p.merge.tree.count > 1) {
    const int tile = tile_n * static_cast<int>(gridDim.x) + tile_m;
    if (!SplitMerger<TileShape, Multiply>(p.merge, tile, tile_m, with_bias).merge(multiply, row_sums, split))
      return;
  }

#pragma unroll
  for (int i = 0; i < Multiply::kRows; ++i) {
    const int filter = first_filter + multiply.row(i);
    if (filter >= p.filters) continue;
    if (adds_rows && multiply.at().member == 0) p.dbias[filter] = row_sums[i];
#pragma unroll
    for (int j = 0; j < Multiply::kGroups; ++j) {
      const int column = first_column + multiply.column(j);
      if (column >= p.columns) continue;
      float values[Multiply::kVector];
#pragma unroll
      for (int v = 0; v < Multiply::kVector; ++v) values[v] = multiply.value(i, j, v);
      store_vector(p.dw + static_cast<std::int64_t>(filter) * p.columns + column, values, p.vector,
                   p.columns - column);
    }
  }
}

template <class Math>
void backward_weights(const Conv2dBackwardWeightsArgs& args, Stream stream) {
  using T = typename Math::Activation;
  const Conv2dShape& s = args.shape;
  BackwardWeightsParams<T> p{};
  p.dy = static_cast<const T*>(args.dy);
  p.x = {static_cast<const T*>(args.x), s.h, s.w, FastDivmod(s.c)};
  p.grid = {FastDivmod(s.p * s.q), FastDivmod(s.q), static_cast<int>(s.pixels()), s.stride_h, s.stride_w};
  p.origin_h = -s.pad_top;
  p.origin_w = -s.pad_left;
  p.taps = {s.r, s.s, s.dilation_h, s.dilation_w};
  p.dw = args.dw;
  p.dbias = args.dbias;
  p.filters = s.k;
  p.columns = static_cast<int>(s.patch());
  p.vector = p.columns % 4 == 0;
  const GemmProblem problem = conv2d_backward_weights_problem(s, kChunkOf<T>);
  const GemmPlan& plan = args.plan;
  p.merge = WorkspaceCutter(args.workspace, args.counters).splits(problem, plan, args.dbias != nullptr);

  for_tile(plan.tile, problem.aligned, [&]<class TileShape, bool is_aligned>() {
    constexpr int kAccess = is_aligned ? kChunkOf<T> : 1;
    using A = GradientColumns<T, kAccess, TileShape, Math::kActivationPadding>;
    using B = PatchColumns<T, kAccess, TileShape, Math::kActivationPadding>;
    const dim3 grid(static_cast<unsigned>(tiles_m(problem, plan.tile)),
                    static_cast<unsigned>(tiles_n(problem, plan.tile)), static_cast<unsigned>(plan.splits));
    launch(QUERN_KERNEL(implicit_gemm_backward_weights_kernel<Math, TileShape, is_aligned>), grid,
           TileShape::kThreads, shared_bytes<A, B, TileShape>(), stream, p);
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
