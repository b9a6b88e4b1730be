// Global average pooling, forward and backward.
//
// Versions
//   1  Forward: a block has 32 channels of one sample; its 8 warps share the pixels, so that a warp's load is
//   128 consecutive
//      bytes; the warps' sums are added in a fixed order. Backward: a thread writes one element.
//      Predicted: launch-bound at batch 64, near the floor at 1024; not measured yet.
//   2  16 bytes a thread both ways, fp32 or bf16; as many threads side by side as the channels fill, the
//      others along the pixels: 64 channels of fp32 keep all of a block's threads busy with 16 pixels at
//      once instead of 8. Starts while the kernel before it ends. Not measured yet.
//
// Floor: 4 bytes an fp32 element of x forward, 4 backward (8 with a mask); half in bf16. For 7 x 7 x 64 (the
// residual net's last layer) at batch 64: 0.8 MB, 0.2 us at an H200's 4.8 TB/s; batch 1024: 12.8 MB, 2.7 us.
// One launch each.

#include "kernels/global_avgpool.cuh"

#include <cstdint>

#include "kernels/activation.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kThreads = 256;

// Shapes: x [N, pixels, C], y [N, C]; grid (ceil(C / (lanes * width)), N). `lanes` threads, a power of two,
// lie side by side along the channels, the others along the pixels.
template <class X, class Y, int width>
__global__ void __launch_bounds__(kThreads)
    global_avgpool_forward_kernel(const X* x, Y* y, int pixels, int channels, int lanes) {
  const int thread = static_cast<int>(threadIdx.x), rows = kThreads / lanes;
  const int channel = (static_cast<int>(blockIdx.x) * lanes + thread % lanes) * width;
  const X* const image = x + static_cast<std::int64_t>(blockIdx.y) * pixels * channels;
  QUERN_SHARED(sums, Pack<width>[kThreads]);
  join_stream();
  Pack<width> sum{};
  if (channel < channels)
    for (int pixel = thread / lanes; pixel < pixels; pixel += rows) {
      const Pack<width> v = load_pack<width>(image + static_cast<std::int64_t>(pixel) * channels + channel);
#pragma unroll
      for (int i = 0; i < width; ++i) sum.v[i] += v.v[i];
    }
  sums[thread] = sum;
  __syncthreads();
  if (thread >= lanes || channel >= channels) return;
  for (int row = 1; row < rows; ++row)
#pragma unroll
    for (int i = 0; i < width; ++i) sum.v[i] += sums[row * lanes + thread].v[i];
#pragma unroll
  for (int i = 0; i < width; ++i)
    y[static_cast<std::int64_t>(blockIdx.y) * channels + channel + i] =
        stored_as<Y>(sum.v[i] / static_cast<float>(pixels));
}

// Shapes: dy [N, C], x and dx [N, pixels, C]; a thread has `width` channels of one pixel.
template <class T, int width>
__global__ void __launch_bounds__(kThreads)
    global_avgpool_backward_kernel(const T* dy, const T* x, T* dx, int pixels, int channels,
                                   std::int64_t elements) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * width;
  join_stream();
  if (i >= elements) return;
  const std::int64_t sample = i / (static_cast<std::int64_t>(pixels) * channels);
  Pack<width> g = load_pack<width>(dy + sample * channels + i % channels);
#pragma unroll
  for (int j = 0; j < width; ++j) g.v[j] /= static_cast<float>(pixels);
  if (x != nullptr) {
    const Pack<width> v = load_pack<width>(x + i);
#pragma unroll
    for (int j = 0; j < width; ++j) g.v[j] = v.v[j] > 0.0f ? g.v[j] : 0.0f;
  }
  store_pack(dx + i, g);
}

template <class X, class Y>
void forward(const GlobalAvgPoolForwardArgs& args, Stream stream) {
  constexpr int kPack = kPackOf<X>;
  const bool packs = args.channels % kPack == 0 && aligned16(args.x);
  const int groups = args.channels / (packs ? kPack : 1);
  int lanes = 1;
  while (lanes < 32 && lanes < groups) lanes *= 2;
  const dim3 grid(static_cast<unsigned>((groups + lanes - 1) / lanes), static_cast<unsigned>(args.batch));
  launch_dependent(packs ? QUERN_KERNEL(global_avgpool_forward_kernel<X, Y, kPack>)
                         : QUERN_KERNEL(global_avgpool_forward_kernel<X, Y, 1>),
                   grid, kThreads, 0, stream, static_cast<const X*>(args.x), static_cast<Y*>(args.y),
                   args.pixels, args.channels, lanes);
}

}  // namespace

void global_avgpool_forward(const GlobalAvgPoolForwardArgs& args, Stream stream) {
  if (args.x_type == DType::f32)
    forward<float, float>(args, stream);
  else if (args.y_type == DType::f32)
    forward<bf16, float>(args, stream);
  else
    forward<bf16, bf16>(args, stream);
}

void global_avgpool_backward(const GlobalAvgPoolBackwardArgs& args, Stream stream) {
  const std::int64_t elements = static_cast<std::int64_t>(args.batch) * args.pixels * args.channels;
  with_type(args.type, [&]<class T>() {
    constexpr int kPack = kPackOf<T>;
    const bool packs =
        args.channels % kPack == 0 && aligned16(args.dy) && aligned16(args.x) && aligned16(args.dx);
    const std::int64_t threads = elements / (packs ? kPack : 1);
    launch_dependent(packs ? QUERN_KERNEL(global_avgpool_backward_kernel<T, kPack>)
                           : QUERN_KERNEL(global_avgpool_backward_kernel<T, 1>),
                     static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads, 0, stream,
                     static_cast<const T*>(args.dy), static_cast<const T*>(args.x), static_cast<T*>(args.dx),
                     args.pixels, args.channels, elements);
  });
}

}  // namespace quern::kernels::QUERN_TARGET
