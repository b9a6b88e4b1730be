#pragma once

/// A block's work in conv2d.backward_data as an implicit matrix product, for the kernels that launch it alone
/// or beside the product of backward_weights.

#include <numeric>

#include "kernels/gemm/conv2d.cuh"

namespace quern::kernels::QUERN_TARGET {

/// One axis of the taps that reach the inputs a, a + stride, a + 2 * stride, ... of a phase a. With
/// g = gcd(stride, dilation) these are the taps first, first + stride / g, ...; the i-th of them reads output
/// j + origin - i * dilation / g for the j-th input of the phase.
struct PhaseAxis {
  int first = 0, count = 0, origin = 0;

  __device__ __forceinline__ PhaseAxis(int phase, int stride, int pad, int dilation, int taps, int period) {
    while (first < period && (phase + pad - first * dilation) % stride != 0) ++first;
    if (first >= period || first >= taps) return;
    count = (taps - first + period - 1) / period;
    origin = (phase + pad - first * dilation) / stride;
  }
};

template <class T>
struct BackwardDataParams {
  Image<T> dy;     // [N, P, Q, K]
  PatchGrid grid;  // inputs of one phase: [N, ceil(H / stride_h), ceil(W / stride_w)]
  const float* weights;
  const T* mask;  // x, or null
  T* dx;
  int height, width, channels;
  int r, s;
  int stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  int period_h, period_w;  // stride / gcd(stride, dilation)
  int shift_h, shift_w;    // -dilation / gcd(stride, dilation)
  int splits;
  bool vector;
  SplitMerge merge;
};

/// A: patches of dy [inputs of a phase, taps * K]; B: weights [taps * K, C]; D: dx [inputs of a phase, C].
template <class Math, class TileShape, bool aligned>
struct BackwardDataOperands {
  using T = typename Math::Activation;
  using A = PatchRows<T, aligned ? kChunkOf<T> : 1, TileShape>;
  using B = FilterTaps<aligned ? 4 : 1, TileShape, Math::kWeightPadding>;
  using Multiply = typename Math::template Multiply<TileShape, typename A::Layout, typename B::Layout, false>;
  static constexpr std::size_t kSharedBytes = shared_bytes<A, B, TileShape>();
};

/// One block: tile of inputs, tile of channels, phase and split. A tap that falls between the outputs of a
/// strided convolution is never multiplied: inputs are sorted by their place in the stride, and all of one
/// phase have the same taps. `taps` is shared memory for kMaxTaps.
template <class Math, class TileShape, bool aligned>
__device__ __forceinline__ void backward_data_block(const BackwardDataParams<typename Math::Activation>& p,
                                                    const BlockPlace& place, Tap* taps) {
  using T = typename Math::Activation;
  using Operands = BackwardDataOperands<Math, TileShape, aligned>;
  using OperandA = typename Operands::A;
  using OperandB = typename Operands::B;
  using Multiply = typename Operands::Multiply;
  DynamicShared shared;
  T* const a_tiles = shared.take<T, 128>(TileShape::kStages * OperandA::Layout::kElements);
  float* const b_tiles = shared.take<float, 128>(TileShape::kStages * OperandB::Layout::kElements);

  const int thread = static_cast<int>(threadIdx.x);
  const int phase = place.layer / p.splits, split = place.layer % p.splits;
  const int phase_h = phase / p.stride_w, phase_w = phase % p.stride_w;
  const PhaseAxis h(phase_h, p.stride_h, p.pad_top, p.dilation_h, p.r, p.period_h);
  const PhaseAxis w(phase_w, p.stride_w, p.pad_left, p.dilation_w, p.s, p.period_w);
  const int first_pixel = place.tile_m * TileShape::kM, first_channel = place.tile_n * TileShape::kN;
  const int filters = p.dy.channels.divisor(), depth = h.count * w.count * filters;
  fill_taps(taps, {h.count, w.count, p.shift_h, p.shift_w, h.first, w.first, p.period_h, p.period_w},
            p.dy.width, filters, p.s);
  __syncthreads();
  join_stream();
  const OperandA a(p.dy, p.grid, h.origin, w.origin, taps, depth, first_pixel, thread);
  const OperandB b(p.weights, p.dy.channels, p.r * p.s, p.channels, taps, depth, first_channel, thread);
  Multiply multiply;
  const StepRange steps(depth, split, p.splits);
  main_loop<TileShape>(a, b, multiply, a_tiles, b_tiles, steps.first * kStepDepth, steps.count, false);

  if (p.splits > 1) {
    const int tile = phase * place.tiles_n * place.tiles_m + place.tile();
    float no_sums[Multiply::kRows];
    if (!SplitMerger<TileShape, Multiply>(p.merge, tile, place.tile_m, false).merge(multiply, no_sums, split))
      return;
  }

#pragma unroll
  for (int i = 0; i < Multiply::kRows; ++i) {
    const int pixel = first_pixel + multiply.row(i);
    int in_image, column;
    const int n = p.grid.area.divide(pixel, in_image);
    const int row = p.grid.width.divide(in_image, column);
    const int y = row * p.stride_h + phase_h, x = column * p.stride_w + phase_w;
    if (pixel >= p.grid.pixels || y >= p.height || x >= p.width) continue;
    const std::int64_t start = ((static_cast<std::int64_t>(n) * p.height + y) * p.width + x) * p.channels;
#pragma unroll
    for (int j = 0; j < Multiply::kGroups; ++j) {
      const int channel = first_channel + multiply.column(j);
      if (channel >= p.channels) continue;
      float values[Multiply::kVector];
#pragma unroll
      for (int v = 0; v < Multiply::kVector; ++v) {
        values[v] = multiply.value(i, j, v);
        if (p.mask != nullptr && channel + v < p.channels &&
            !(activation(p.mask[start + channel + v]) > 0.0f))
          values[v] = 0;
      }
      store_vector(p.dx + start + channel, values, p.vector, p.channels - channel);
    }
  }
}

template <class T>
BackwardDataParams<T> backward_data_params(const Conv2dBackwardDataArgs& args) {
  const Conv2dShape& s = args.shape;
  const int rows = static_cast<int>(ceil_div(s.h, s.stride_h)),
            columns = static_cast<int>(ceil_div(s.w, s.stride_w));
  const int common_h = std::gcd(s.stride_h, s.dilation_h);
  const int common_w = std::gcd(s.stride_w, s.dilation_w);
  BackwardDataParams<T> p{};
  p.dy = {static_cast<const T*>(args.dy), s.p, s.q, FastDivmod(s.k)};
  p.grid = {FastDivmod(rows * columns), FastDivmod(columns), s.n * rows * columns, 1, 1};
  p.weights = args.w;
  p.mask = static_cast<const T*>(args.x);
  p.dx = static_cast<T*>(args.dx);
  p.height = s.h, p.width = s.w, p.channels = s.c;
  p.r = s.r, p.s = s.s;
  p.stride_h = s.stride_h, p.stride_w = s.stride_w, p.pad_top = s.pad_top, p.pad_left = s.pad_left;
  p.dilation_h = s.dilation_h, p.dilation_w = s.dilation_w;
  p.period_h = s.stride_h / common_h, p.period_w = s.stride_w / common_w;
  p.shift_h = -s.dilation_h / common_h, p.shift_w = -s.dilation_w / common_w;
  p.splits = args.plan.splits;
  p.vector = s.c % 4 == 0;
  const GemmProblem problem = conv2d_backward_data_problem(s, kChunkOf<T>);
  p.merge = WorkspaceCutter(args.workspace, args.counters).splits(problem, args.plan, false);
  return p;
}

}  // namespace quern::kernels::QUERN_TARGET
