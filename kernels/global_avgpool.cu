// Global average pooling, forward and backward.
//
// Versions
//   1  Forward: a block has 32 channels of one sample; its 8 warps share the pixels, so that a warp's load is
//   128 consecutive
//      bytes; the warps' sums are added in a fixed order. Backward: a thread writes one element.
//      Predicted: launch-bound at batch 64, near the floor at 1024; not measured yet.
//
// Floor: 4 bytes an element of x forward, 4 backward (8 with a mask). For 7 x 7 x 64 (the residual net's last
// layer) at batch 64: 0.8 MB, 0.2 us at an H200's 4.8 TB/s; batch 1024: 12.8 MB, 2.7 us. One launch each.

#include "kernels/global_avgpool.cuh"

#include <cstdint>

#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;

// Shapes: x [N, pixels, C], y [N, C]; grid (ceil(C / 32), N).
__global__ void __launch_bounds__(kThreads)
    global_avgpool_forward_kernel(const float* x, float* y, int pixels, int channels) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int channel = static_cast<int>(blockIdx.x) * 32 + lane;
  const float* const image = x + static_cast<std::int64_t>(blockIdx.y) * pixels * channels;
  float sum = 0;
  if (channel < channels)
    for (int pixel = warp; pixel < pixels; pixel += kWarps)
      sum += image[static_cast<std::int64_t>(pixel) * channels + channel];
  QUERN_SHARED(sums, float[kWarps][32]);
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || channel >= channels) return;
  float total = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) total += sums[w][lane];
  y[static_cast<std::int64_t>(blockIdx.y) * channels + channel] = total / static_cast<float>(pixels);
}

// Shapes: dy [N, C], x and dx [N, pixels, C].
__global__ void __launch_bounds__(kThreads)
    global_avgpool_backward_kernel(const float* dy, const float* x, float* dx, int pixels, int channels,
                                   std::int64_t elements) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= elements) return;
  const std::int64_t sample = i / (static_cast<std::int64_t>(pixels) * channels);
  const auto channel = static_cast<int>(i % channels);
  const float g = dy[sample * channels + channel] / static_cast<float>(pixels);
  dx[i] = x == nullptr || x[i] > 0.0f ? g : 0.0f;
}

}  // namespace

void global_avgpool_forward(const GlobalAvgPoolForwardArgs& args, Stream stream) {
  const dim3 grid(static_cast<unsigned>((args.channels + 31) / 32), static_cast<unsigned>(args.batch));
  launch(QUERN_KERNEL(global_avgpool_forward_kernel), grid, kThreads, 0, stream, args.x, args.y, args.pixels,
         args.channels);
}

void global_avgpool_backward(const GlobalAvgPoolBackwardArgs& args, Stream stream) {
  const std::int64_t elements = static_cast<std::int64_t>(args.batch) * args.pixels * args.channels;
  launch(QUERN_KERNEL(global_avgpool_backward_kernel),
         static_cast<unsigned>((elements + kThreads - 1) / kThreads), kThreads, 0, stream, args.dy, args.x,
         args.dx, args.pixels, args.channels, elements);
}

}  // namespace quern::kernels::QUERN_TARGET
