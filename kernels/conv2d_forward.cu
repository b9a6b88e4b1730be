// conv2d.forward as an implicit matrix product: y[pixel, filter] = sum over (r, s, c) of x's patch * w.
// HISTORY

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
    conv2d_forward_kernel(const __grid_constant__ ForwardParams<typename Math::Activation> p) {
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
    launch(QUERN_KERNEL(conv2d_forward_kernel<Math, TileShape, is_aligned>), grid, TileShape::kThreads,
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
