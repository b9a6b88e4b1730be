#pragma once

/// A block's work in conv2d.backward_weights as an implicit matrix product, for the kernels that launch it
/// alone or beside the product of backward_data.

#include "kernels/gemm/conv2d.cuh"

namespace quern::kernels::QUERN_TARGET {

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

/// A: dy [K, N*P*Q]; B: patches of x [N*P*Q, R*S*C]; D: dw [K, R*S*C].
template <class Math, class TileShape, bool aligned>
struct BackwardWeightsOperands {
  using T = typename Math::Activation;
  static constexpr int kAccess = aligned ? kChunkOf<T> : 1;
  using A = GradientColumns<T, kAccess, TileShape, Math::kActivationPadding>;
  using B = PatchColumns<T, kAccess, TileShape, Math::kActivationPadding>;
  using Multiply = typename Math::template Multiply<TileShape, typename A::Layout, typename B::Layout, true>;
  static constexpr std::size_t kSharedBytes = shared_bytes<A, B, TileShape>();
};

/// One block: tile of filters, tile of weights, split of N*P*Q. The first column of blocks adds up dy's
/// columns as they pass by: the bias' gradient. `taps` is shared memory for kMaxTaps.
template <class Math, class TileShape, bool aligned>
__device__ __forceinline__ void backward_weights_block(
    const BackwardWeightsParams<typename Math::Activation>& p, const BlockPlace& place, Tap* taps) {
  using T = typename Math::Activation;
  using Operands = BackwardWeightsOperands<Math, TileShape, aligned>;
  using OperandA = typename Operands::A;
  using OperandB = typename Operands::B;
  using Multiply = typename Operands::Multiply;
  DynamicShared shared;
  T* const a_tiles = shared.take<T, 128>(TileShape::kStages * OperandA::Layout::kElements);
  T* const b_tiles = shared.take<T, 128>(TileShape::kStages * OperandB::Layout::kElements);

  const int thread = static_cast<int>(threadIdx.x);
  const int split = place.layer;
  const int first_filter = place.tile_m * TileShape::kM, first_column = place.tile_n * TileShape::kN;
  const bool with_bias = p.dbias != nullptr && place.tile_n == 0;
  fill_taps(taps, p.taps, p.x.width, p.x.channels.divisor(), p.taps.count_w);
  __syncthreads();
  join_stream();
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
    const SplitMerger<TileShape, Multiply> merger(p.merge, place.tile(), place.tile_m, with_bias);
    if (!merger.merge(multiply, row_sums, split)) return;
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

template <class T>
BackwardWeightsParams<T> backward_weights_params(const Conv2dBackwardWeightsArgs& args) {
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
  p.merge = WorkspaceCutter(args.workspace, args.counters).splits(problem, args.plan, args.dbias != nullptr);
  return p;
}

}  // namespace quern::kernels::QUERN_TARGET
