// conv2d.forward as an implicit matrix product: y[pixel, filter] = sum over (r, s, c) of x's patch * w.
//
// Versions (nothing is measured yet: predictions only)
//   1  Four warps a tile, one step of 32 k after the other, tiles two or three steps ahead by cp.async, one
//      barrier a step. Patches past the first-level cache: by the second level's bandwidth (24 bytes a clock
//      and multiprocessor) conv2 would take 7 us at batch 64, three times its tensor-core time.
//   2  Patches through the first-level cache, where the nine taps of a pixel meet again: predicted 3 us.
//      FFMA: rows of A are streamed instead of held, so that the 128 x 64 tile no longer spills.
//   Not done: wgmma and TMA (an entry of their own before this one), programmatic dependent launch. Rounding
//   to tf32 costs three integer instructions an element and fragment, about as long as the mma they feed.
//
// Floor on an H200 (4.3 TB/s as copies measure, 67 TFLOP/s fp32, 495 TFLOP/s tf32 by the datasheet):
//   seed nets' conv2, 14x14x32 -> 64, 3x3   batch 64     4.9 MB, 0.46 GFLOP: 1.1 us, in fp32 6.9 us
//                                           batch 1024    77 MB, 7.4 GFLOP: 18 us, in fp32 110 us
//
// Compiled for sm_90 (nvcc 13.0; no spills, also for sm_80 and sm_120): registers, KiB of shared memory and
// warps resident on a multiprocessor, for each tile of plan.hpp; the unaligned kernel is 32x32.
//
//            32x32       64x32       64x64       128x64
//   fp32    72 35 24   108 51 16   162 52 12   191 76  8
//   tf32    64 35 24    72 51 16    96 52 16   168 76  8
//   bf16    64 27 32    64 35 24    96 40 20   158 52 12

#include "kernels/gemm/conv2d.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

template <class T>
struct ForwardParams {
  Image<T> x;
  PatchGrid grid;
  int origin_h, origin_w;
  TapGrid taps;
  const float* weights;
  const float* bias;  // or null
  T* y;
  int filters, depth;
  bool relu;
  bool vector;  // y can be written in vectors
  SplitMerge merge;
  StatsMerge stats;
};

// A: patches of x [N*P*Q, R*S*C]; B: weights [K, R*S*C]; D: y [N*P*Q, K]. Grid: tiles of pixels, tiles of
// filters, splits of R*S*C.
template <class Math, class TileShape, bool aligned>
__global__ void __launch_bounds__(TileShape::kThreads)
    implicit_gemm_forward_kernel(const __grid_constant__ ForwardParams<typename Math::Activation> p) {
  using T = typename Math::Activation;
  using OperandA = PatchRows<T, aligned ? kChunkOf<T> : 1, TileShape>;
  using OperandB = FilterRows<aligned ? 4 : 1, TileShape>;
  using Multiply = typename Math::template Multiply<TileShape, typename OperandA::Layout,
                                                    typename OperandB::Layout, false>;
  DynamicShared shared;
  T* const a_tiles = shared.take<T, 128>(TileShape::kStages * OperandA::Layout::kElements);
  float* const b_tiles = shared.take<float, 128>(TileShape::kStages * OperandB::Layout::kElements);
  QUERN_SHARED(taps, Tap[kMaxTaps]);

  const int thread = static_cast<int>(threadIdx.x);
  const int tile_m = static_cast<int>(blockIdx.x), tile_n = static_cast<int>(blockIdx.y);
  const int split = static_cast<int>(blockIdx.z);
  const int first_pixel = tile_m * TileShape::kM, first_filter = tile_n * TileShape::kN;
  fill_taps(taps, p.taps, p.x.width, p.x.channels.divisor(), p.taps.count_w);
  __syncthreads();
  const OperandA a(p.x, p.grid, p.origin_h, p.origin_w, taps, p.depth, first_pixel, thread);
  const OperandB b(p.weights, p.filters, p.depth, first_filter, thread);
  Multiply multiply;
  const StepRange steps(p.depth, split, p.merge.tree.count);
  main_loop<TileShape>(a, b, multiply, a_tiles, b_tiles, steps.first * kStepDepth, steps.count, false);

  if (p.merge.tree.count > 1) {
    const int tile = tile_n * static_cast<int>(gridDim.x) + tile_m;
    float no_sums[Multiply::kRows];
    if (!SplitMerger<TileShape, Multiply>(p.merge, tile, tile_m, false).merge(multiply, no_sums, split))
      return;
  }

#pragma unroll
  for (int j = 0; j < Multiply::kGroups; ++j) {
    const int filter = first_filter + multiply.column(j);
    float bias[Multiply::kVector];
#pragma unroll
    for (int v = 0; v < Multiply::kVector; ++v)
      bias[v] = p.bias != nullptr && filter + v < p.filters ? p.bias[filter + v] : 0.0f;
#pragma unroll
    for (int i = 0; i < Multiply::kRows; ++i) {
      float values[Multiply::kVector];
#pragma unroll
      for (int v = 0; v < Multiply::kVector; ++v) {
        const float sum = multiply.value(i, j, v) + bias[v];
        values[v] = p.relu && sum < 0.0f ? 0.0f : sum;                  // NaN stays
        multiply.value(i, j, v) = activation(stored_as<T>(values[v]));  // what statistics are taken of
      }
      const int pixel = first_pixel + multiply.row(i);
      if (pixel < p.grid.pixels && filter < p.filters)
        store_vector(p.y + static_cast<std::int64_t>(pixel) * p.filters + filter, values, p.vector,
                     p.filters - filter);
    }
  }
  if (p.stats.stats != nullptr)
    tile_stats<TileShape>(p.stats, multiply, min(TileShape::kM, p.grid.pixels - first_pixel), tile_m, tile_n);
}

template <class Math>
void forward(const Conv2dForwardArgs& args, Stream stream) {
  using T = typename Math::Activation;
  const Conv2dShape& s = args.shape;
  ForwardParams<T> p{};
  p.x = {static_cast<const T*>(args.x), s.h, s.w, FastDivmod(s.c)};
  p.grid = {FastDivmod(s.p * s.q), FastDivmod(s.q), static_cast<int>(s.pixels()), s.stride_h, s.stride_w};
  p.origin_h = -s.pad_top;
  p.origin_w = -s.pad_left;
  p.taps = {s.r, s.s, s.dilation_h, s.dilation_w};
  p.weights = args.w;
  p.bias = args.bias;
  p.y = static_cast<T*>(args.y);
  p.filters = s.k;
  p.depth = static_cast<int>(s.patch());
  p.relu = args.relu;
  p.vector = s.k % 4 == 0;
  const GemmProblem problem = conv2d_forward_problem(s, kChunkOf<T>);
  const GemmPlan& plan = args.plan;
  WorkspaceCutter cutter(args.workspace, args.counters);
  p.merge = cutter.splits(problem, plan, false);
  p.stats = cutter.stats(tiles_m(problem, plan.tile), tiles_n(problem, plan.tile), s.k, args.stats);

  for_tile(plan.tile, problem.aligned, [&]<class TileShape, bool is_aligned>() {
    using A = PatchRows<T, is_aligned ? kChunkOf<T> : 1, TileShape>;
    using B = FilterRows<is_aligned ? 4 : 1, TileShape>;
    const dim3 grid(static_cast<unsigned>(tiles_m(problem, plan.tile)),
                    static_cast<unsigned>(tiles_n(problem, plan.tile)), static_cast<unsigned>(plan.splits));
    launch(QUERN_KERNEL(implicit_gemm_forward_kernel<Math, TileShape, is_aligned>), grid, TileShape::kThreads,
           shared_bytes<A, B, TileShape>(), stream, p);
  });
}

}  // namespace

void conv2d_forward_fp32(const Conv2dForwardArgs& args, Stream stream) {
  forward<Fp32Math>(args, stream);
}
void conv2d_forward_tf32(const Conv2dForwardArgs& args, Stream stream) {
  forward<Tf32Math>(args, stream);
}
void conv2d_forward_bf16(const Conv2dForwardArgs& args, Stream stream) {
  forward<Bf16Math>(args, stream);
}

}  // namespace quern::kernels::QUERN_TARGET
