// Convolutions that no other kernel serves: groups, mixtures of fp32 and bf16, tensors and windows of any
// size.
//
// Versions
//   1  One thread an output element in forward and backward_data, 64-bit indices; 32 weights by 8 shares of
//   the pixels a
//      block in backward_weights; statistics and bias gradients in passes of their own. Right first: it is
//      the last entry of its tables, and the seed nets never reach it. Not measured yet.
//
// Floor: that of the operation (see conv2d_forward.cu), which this kernel does not try to reach: every
// operand is read through the caches once a multiply-add. Depthwise convolutions, the one common case that
// ends here, do R*S multiply-adds an output and are bound by those reads.

#include "kernels/conv2d.cuh"
#include "kernels/gather.cuh"
#include "kernels/gemm/math.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kThreads = 256;

using Index = std::int64_t;

/// Activations of images in their dataset, `image` bytes each, as if they stood one behind the other.
struct GatheredSource {
  Dataset dataset;
  float mean, stddev;
  Index image;
  bool is_bf16;
  __device__ __forceinline__ float operator[](Index i) const {
    const Index from = dataset_index(dataset, static_cast<int>(i / image)) * image + i % image;
    const float x = normalised(dataset.values[from], mean, stddev);
    return is_bf16 ? to_float(to_bf16(x)) : x;
  }
};
GatheredSource gathered_source(const GatheredImages& images, const Conv2dShape& s, bool is_bf16) {
  return {images.dataset, images.mean, images.stddev, static_cast<Index>(s.h) * s.w * s.c, is_bf16};
}

unsigned blocks_for(Index work, Index per_block) {
  return static_cast<unsigned>(ceil_div(work, per_block));
}

__device__ __forceinline__ Index global_thread() {
  return static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
}

// y [N, P, Q, K], one element a thread.
template <class X>
__global__ void __launch_bounds__(kThreads, 1)
    forward_general_kernel(Conv2dShape s, X x, const float* w, const float* bias, Destination y, bool relu) {
  const Index i = global_thread();
  if (i >= static_cast<Index>(s.n) * s.p * s.q * s.k) return;
  const int k = static_cast<int>(i % s.k), q = static_cast<int>(i / s.k % s.q);
  const int p = static_cast<int>(i / s.k / s.q % s.p);
  const Index n = i / s.k / s.q / s.p;
  const int channels = s.c / s.groups, first = k / (s.k / s.groups) * channels;
  float sum = 0;
  for (int r = 0; r < s.r; ++r) {
    const int h = p * s.stride_h - s.pad_top + r * s.dilation_h;
    if (h < 0 || h >= s.h) continue;
    for (int t = 0; t < s.s; ++t) {
      const int column = q * s.stride_w - s.pad_left + t * s.dilation_w;
      if (column < 0 || column >= s.w) continue;
      const Index pixel = ((n * s.h + h) * s.w + column) * s.c + first;
      const float* const weights = w + ((static_cast<Index>(k) * s.r + r) * s.s + t) * channels;
      for (int c = 0; c < channels; ++c) sum = __fmaf_rn(x[pixel + c], weights[c], sum);
    }
  }
  if (bias != nullptr) sum += bias[k];
  y.store(i, relu && sum < 0.0f ? 0.0f : sum);
}

// stats [2, K] of y [rows, K], one channel a block: the mean, then the squared deviations from it.
__global__ void __launch_bounds__(kThreads)
    column_stats_general_kernel(Source y, Index rows, int columns, float* stats) {
  QUERN_SHARED(parts, float[kThreads]);
  const int column = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const auto add_up = [&](float part) {
    __syncthreads();
    parts[thread] = part;
    for (int half = kThreads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (thread < half) parts[thread] += parts[thread + half];
    }
    __syncthreads();
    return parts[0];
  };
  float sum = 0;
  for (Index row = thread; row < rows; row += kThreads) sum += y[row * columns + column];
  const float mean = add_up(sum) / static_cast<float>(rows);
  float squares = 0;
  for (Index row = thread; row < rows; row += kThreads) {
    const float deviation = y[row * columns + column] - mean;
    squares = __fmaf_rn(deviation, deviation, squares);
  }
  const float total = add_up(squares);
  if (thread == 0) {
    stats[column] = mean;
    stats[columns + column] = total / static_cast<float>(rows);
  }
}

// dx [N, H, W, C], one element a thread. The mask is x, or null.
__global__ void __launch_bounds__(kThreads)
    backward_data_general_kernel(Conv2dShape s, Source dy, const float* w, Source mask, Destination dx) {
  const Index i = global_thread();
  if (i >= static_cast<Index>(s.n) * s.h * s.w * s.c) return;
  const int c = static_cast<int>(i % s.c), column = static_cast<int>(i / s.c % s.w);
  const int row = static_cast<int>(i / s.c / s.w % s.h);
  const Index n = i / s.c / s.w / s.h;
  const int channels = s.c / s.groups, filters = s.k / s.groups;
  const int first = c / channels * filters, channel = c % channels;
  float sum = 0;
  for (int r = 0; r < s.r; ++r) {
    const int h = row + s.pad_top - r * s.dilation_h;
    if (h < 0 || h % s.stride_h != 0 || h / s.stride_h >= s.p) continue;
    for (int t = 0; t < s.s; ++t) {
      const int v = column + s.pad_left - t * s.dilation_w;
      if (v < 0 || v % s.stride_w != 0 || v / s.stride_w >= s.q) continue;
      const Index pixel = ((n * s.p + h / s.stride_h) * s.q + v / s.stride_w) * s.k + first;
      for (int k = 0; k < filters; ++k)
        sum = __fmaf_rn(dy[pixel + k],
                        w[((static_cast<Index>(first + k) * s.r + r) * s.s + t) * channels + channel], sum);
    }
  }
  if (mask.data != nullptr && !(mask[i] > 0.0f)) sum = 0;
  dx.store(i, sum);
}

constexpr int kWeights = 32, kShares = kThreads / kWeights;

/// Adds what the shares of each of a block's kWeights sums hold, in their order; the result is the first
/// share's.
__device__ __forceinline__ float add_shares(float part) {
  QUERN_SHARED(parts, float[kShares][kWeights]);
  const int lane = static_cast<int>(threadIdx.x) % kWeights, share = static_cast<int>(threadIdx.x) / kWeights;
  parts[share][lane] = part;
  __syncthreads();
  float sum = 0;
  if (share == 0)
    for (int i = 0; i < kShares; ++i) sum += parts[i][lane];
  return sum;
}

// dw [K, R, S, C / G], kWeights neighbours a block; its warps share the pixels N*P*Q.
template <class X>
__global__ void __launch_bounds__(kThreads, 1)
    backward_weights_general_kernel(Conv2dShape s, Source dy, X x, float* dw) {
  const int channels = s.c / s.groups, filters = s.k / s.groups;
  const int share = static_cast<int>(threadIdx.x) / kWeights;
  const Index weight = static_cast<Index>(blockIdx.x) * kWeights + threadIdx.x % kWeights;
  const Index weights = static_cast<Index>(s.k) * s.r * s.s * channels;
  float sum = 0;
  if (weight < weights) {
    const int c = static_cast<int>(weight % channels), t = static_cast<int>(weight / channels % s.s);
    const int r = static_cast<int>(weight / channels / s.s % s.r);
    const int k = static_cast<int>(weight / channels / s.s / s.r), channel = k / filters * channels + c;
    const Index lines = static_cast<Index>(s.n) * s.p;
    for (Index line = share; line < lines; line += kShares) {
      const Index n = line / s.p;
      const int h = static_cast<int>(line % s.p) * s.stride_h - s.pad_top + r * s.dilation_h;
      if (h < 0 || h >= s.h) continue;
      for (int q = 0; q < s.q; ++q) {
        const int column = q * s.stride_w - s.pad_left + t * s.dilation_w;
        if (column < 0 || column >= s.w) continue;
        sum =
            __fmaf_rn(dy[(line * s.q + q) * s.k + k], x[((n * s.h + h) * s.w + column) * s.c + channel], sum);
      }
    }
  }
  sum = add_shares(sum);
  if (share == 0 && weight < weights) dw[weight] = sum;
}

// dbias [K]: the columns of dy [rows, K] added up, kWeights columns a block.
__global__ void __launch_bounds__(kThreads)
    column_sums_general_kernel(Source dy, Index rows, int columns, float* dbias) {
  const int share = static_cast<int>(threadIdx.x) / kWeights;
  const int column = static_cast<int>(blockIdx.x) * kWeights + static_cast<int>(threadIdx.x) % kWeights;
  float sum = 0;
  if (column < columns)
    for (Index row = share; row < rows; row += kShares) sum += dy[row * columns + column];
  sum = add_shares(sum);
  if (share == 0 && column < columns) dbias[column] = sum;
}

}  // namespace

void conv2d_forward_general(const Conv2dForwardArgs& args, Stream stream) {
  const Conv2dShape& s = args.shape;
  const auto forward = [&](auto kernel, auto x) {
    launch(kernel, blocks_for(s.pixels() * s.k, kThreads), kThreads, 0, stream, s, x, args.w, args.bias,
           Destination{args.y, args.y_bf16}, args.relu);
  };
  if (args.images.gather)
    forward(QUERN_KERNEL(forward_general_kernel<GatheredSource>),
            gathered_source(args.images, s, args.x_bf16));
  else
    forward(QUERN_KERNEL(forward_general_kernel<Source>), Source{args.x, args.x_bf16});
  if (args.stats == nullptr) return;
  launch(QUERN_KERNEL(column_stats_general_kernel), static_cast<unsigned>(s.k), kThreads, 0, stream,
         Source{args.y, args.y_bf16}, s.pixels(), s.k, args.stats);
}

void conv2d_backward_data_general(const Conv2dBackwardDataArgs& args, Stream stream) {
  const Conv2dShape& s = args.shape;
  launch(QUERN_KERNEL(backward_data_general_kernel),
         blocks_for(static_cast<Index>(s.n) * s.h * s.w * s.c, kThreads), kThreads, 0, stream, s,
         Source{args.dy, args.dy_bf16}, args.w, Source{args.x, args.x_bf16},
         Destination{args.dx, args.dx_bf16});
}

void conv2d_backward_weights_general(const Conv2dBackwardWeightsArgs& args, Stream stream) {
  const Conv2dShape& s = args.shape;
  const auto to_weights = [&](auto kernel, auto x) {
    launch(kernel, blocks_for(s.k * s.patch(), kWeights), kThreads, 0, stream, s,
           Source{args.dy, args.dy_bf16}, x, args.dw);
  };
  if (args.images.gather)
    to_weights(QUERN_KERNEL(backward_weights_general_kernel<GatheredSource>),
               gathered_source(args.images, s, args.x_bf16));
  else
    to_weights(QUERN_KERNEL(backward_weights_general_kernel<Source>), Source{args.x, args.x_bf16});
  if (args.dbias == nullptr) return;
  launch(QUERN_KERNEL(column_sums_general_kernel), blocks_for(s.k, kWeights), kThreads, 0, stream,
         Source{args.dy, args.dy_bf16}, s.pixels(), s.k, args.dbias);
}

}  // namespace quern::kernels::QUERN_TARGET
