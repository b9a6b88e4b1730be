// Average pooling, forward and backward.
//
// Versions
//   1  As max-pooling: four channels a thread; backward gathers from the windows over an element, in a fixed
//   order.
//      Predicted: 80 % of the floor or better beyond the second-level cache; not measured yet.
//   2  The same for bf16, eight channels a thread; starts while the kernel before it ends.
//
// Floor: 5 bytes an fp32 input element either way for 2x2 windows (+ 4 backward with a mask). For 28 x 28 x
// 32 at batch 64: 8.0 MB, 1.7 us at an H200's 4.8 TB/s; batch 1024: 128 MB, 27 us. One launch. (The seed nets
// pool by maximum.)

#include "kernels/avgpool2d.cuh"

#include "kernels/pooling.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

__device__ __forceinline__ float divisor(const PoolWindow& w, bool count_include_pad, int p, int q) {
  return static_cast<float>(count_include_pad ? w.r * w.s : taps_inside(w, p, q).count());
}

// Shapes: x [N,H,W,C], y [N,P,Q,C]; a thread has `width` channels of one output element.
template <class T, int width>
__global__ void __launch_bounds__(kPoolThreads)
    avgpool2d_forward_kernel(const __grid_constant__ AvgPool2dForwardArgs args) {
  const auto* const x = static_cast<const T*>(args.x);
  const PoolWindow& w = args.window;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kPoolThreads + threadIdx.x;
  const std::int64_t threads =
      static_cast<std::int64_t>(args.batch) * w.out_height * w.out_width * (args.channels / width);
  join_stream();
  if (thread >= threads) return;
  const Place at = place_of<width>(thread, w.out_height, w.out_width, args.channels);
  const TapRange taps = taps_inside(w, at.row, at.column);
  Pack<width> sum{};
  for (int r = taps.r_begin; r < taps.r_end; ++r)
    for (int s = taps.s_begin; s < taps.s_end; ++s) {
      const int h = at.row * w.stride_h - w.pad_top + r, v = at.column * w.stride_w - w.pad_left + s;
      const Pack<width> pixel =
          load_pack<width>(x + offset_of(at.n, h, v, at.c, w.height, w.width, args.channels));
#pragma unroll
      for (int i = 0; i < width; ++i) sum.v[i] += pixel.v[i];
    }
  const float count = divisor(w, args.count_include_pad, at.row, at.column);
#pragma unroll
  for (int i = 0; i < width; ++i) sum.v[i] /= count;
  store_pack(static_cast<T*>(args.y) + thread * width, sum);
}

// Shapes: dy [N,P,Q,C], x and dx [N,H,W,C]; a thread has `width` channels of one input element.
template <class T, int width>
__global__ void __launch_bounds__(kPoolThreads, 1)
    avgpool2d_backward_kernel(const __grid_constant__ AvgPool2dBackwardArgs args) {
  const PoolWindow& w = args.window;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kPoolThreads + threadIdx.x;
  const std::int64_t threads =
      static_cast<std::int64_t>(args.batch) * w.height * w.width * (args.channels / width);
  join_stream();
  if (thread >= threads) return;
  const Place at = place_of<width>(thread, w.height, w.width, args.channels);
  const WindowRange over = windows_over(w, at.row, at.column);
  Pack<width> sum{};
  for (int p = over.p_begin; p < over.p_end; ++p)
    for (int q = over.q_begin; q < over.q_end; ++q) {
      const float count = divisor(w, args.count_include_pad, p, q);
      const Pack<width> dy =
          load_pack<width>(static_cast<const T*>(args.dy) +
                           offset_of(at.n, p, q, at.c, w.out_height, w.out_width, args.channels));
#pragma unroll
      for (int i = 0; i < width; ++i) sum.v[i] += dy.v[i] / count;
    }
  if (args.x != nullptr) {
    const Pack<width> x = load_pack<width>(static_cast<const T*>(args.x) + thread * width);
#pragma unroll
    for (int i = 0; i < width; ++i) sum.v[i] = x.v[i] > 0.0f ? sum.v[i] : 0.0f;
  }
  store_pack(static_cast<T*>(args.dx) + thread * width, sum);
}

}  // namespace

void avgpool2d_forward(const AvgPool2dForwardArgs& args, Stream stream) {
  const std::int64_t outputs =
      static_cast<std::int64_t>(args.batch) * args.window.out_height * args.window.out_width * args.channels;
  with_type(args.type, [&]<class T>() {
    constexpr int kPack = kPackOf<T>;
    const bool packs = args.channels % kPack == 0 && aligned16(args.x) && aligned16(args.y);
    launch_dependent(packs ? QUERN_KERNEL(avgpool2d_forward_kernel<T, kPack>)
                           : QUERN_KERNEL(avgpool2d_forward_kernel<T, 1>),
                     pool_grid(outputs / (packs ? kPack : 1)), kPoolThreads, 0, stream, args);
  });
}

void avgpool2d_backward(const AvgPool2dBackwardArgs& args, Stream stream) {
  const std::int64_t inputs =
      static_cast<std::int64_t>(args.batch) * args.window.height * args.window.width * args.channels;
  with_type(args.type, [&]<class T>() {
    constexpr int kPack = kPackOf<T>;
    const bool packs =
        args.channels % kPack == 0 && aligned16(args.dx) && aligned16(args.dy) && aligned16(args.x);
    launch_dependent(packs ? QUERN_KERNEL(avgpool2d_backward_kernel<T, kPack>)
                           : QUERN_KERNEL(avgpool2d_backward_kernel<T, 1>),
                     pool_grid(inputs / (packs ? kPack : 1)), kPoolThreads, 0, stream, args);
  });
}

}  // namespace quern::kernels::QUERN_TARGET
