// Max-pooling, forward and backward.
//
// Versions
//   1  Four channels a thread. Forward: a thread reads its window and keeps the tap of the maximum as a byte.
//   Backward: a
//      thread owns four channels of one input element and asks the windows over it whether their byte names
//      it: every element is written once, in a fixed order, without atomics, overlapping windows or not. The
//      gradient and the bytes are read by several threads (four for a 2x2 window), all but the first time
//      from the first-level cache. Predicted: 80 % of the floor or better for activations beyond the
//      second-level cache; not measured yet.
//   2  The same for bf16, eight channels a thread; starts while the kernel before it ends.
//
// Floor, bytes an fp32 input element for 2x2 windows: forward 4 + 1.25, backward 4 + 1.25 (+ 1 with a mask).
// Seed net, first pooling (28 x 28 x 32): batch 64: 8.4 MB, 1.8 us at an H200's 4.8 TB/s; batch 1024: 135 MB,
// 28 us; second pooling half of that. One launch each.

#include "kernels/maxpool2d.cuh"

#include "kernels/pooling.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

// Shapes: x [N,H,W,C], y and argmax [N,P,Q,C]; a thread has `width` channels of one output element.
template <class T, int width>
__global__ void __launch_bounds__(kPoolThreads)
    maxpool2d_forward_kernel(const __grid_constant__ MaxPool2dForwardArgs args) {
  const auto* const x = static_cast<const T*>(args.x);
  const PoolWindow& w = args.window;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kPoolThreads + threadIdx.x;
  const std::int64_t threads =
      static_cast<std::int64_t>(args.batch) * w.out_height * w.out_width * (args.channels / width);
  join_stream();
  if (thread >= threads) return;
  const Place at = place_of<width>(thread, w.out_height, w.out_width, args.channels);
  const TapRange taps = taps_inside(w, at.row, at.column);
  Maximum best[width];
  for (int r = taps.r_begin; r < taps.r_end; ++r)
    for (int s = taps.s_begin; s < taps.s_end; ++s) {
      const int h = at.row * w.stride_h - w.pad_top + r, v = at.column * w.stride_w - w.pad_left + s;
      const Pack<width> pixel =
          load_pack<width>(x + offset_of(at.n, h, v, at.c, w.height, w.width, args.channels));
#pragma unroll
      for (int i = 0; i < width; ++i) best[i].take(pixel.v[i], r * w.s + s);
    }
  Pack<width> y;
  Indices<width> winner;
#pragma unroll
  for (int i = 0; i < width; ++i) {
    y.v[i] = best[i].value;
    winner.v[i] = static_cast<std::uint8_t>(best[i].index);
  }
  store_pack(static_cast<T*>(args.y) + thread * width, y);
  if (args.argmax != nullptr) store_indices<width>(args.argmax + thread * width, winner);
}

// Shapes: dy, argmax and y [N,P,Q,C], dx [N,H,W,C]; a thread has `width` channels of one input element.
template <class T, int width>
__global__ void __launch_bounds__(kPoolThreads)
    maxpool2d_backward_kernel(const __grid_constant__ MaxPool2dBackwardArgs args) {
  const auto* const dy = static_cast<const T*>(args.dy);
  const auto* const y = static_cast<const T*>(args.y);
  const PoolWindow& w = args.window;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kPoolThreads + threadIdx.x;
  const std::int64_t threads =
      static_cast<std::int64_t>(args.batch) * w.height * w.width * (args.channels / width);
  join_stream();
  if (thread >= threads) return;
  const Place at = place_of<width>(thread, w.height, w.width, args.channels);
  const Pack<width> dx = maximum_gradient<width>(w, args.channels, at, args.argmax, [&](std::int64_t offset) {
    Pack<width> g = load_pack<width>(dy + offset);
    if (y != nullptr) {
      const Pack<width> maximum = load_pack<width>(y + offset);
#pragma unroll
      for (int i = 0; i < width; ++i) g.v[i] = maximum.v[i] > 0.0f ? g.v[i] : 0.0f;
    }
    return g;
  });
  store_pack(static_cast<T*>(args.dx) + thread * width, dx);
}

}  // namespace

void maxpool2d_forward(const MaxPool2dForwardArgs& args, Stream stream) {
  const std::int64_t outputs =
      static_cast<std::int64_t>(args.batch) * args.window.out_height * args.window.out_width * args.channels;
  with_type(args.type, [&]<class T>() {
    constexpr int kPack = kPackOf<T>;
    const bool packs = args.channels % kPack == 0 && aligned16(args.x) && aligned16(args.y);
    launch_dependent(packs ? QUERN_KERNEL(maxpool2d_forward_kernel<T, kPack>)
                           : QUERN_KERNEL(maxpool2d_forward_kernel<T, 1>),
                     pool_grid(outputs / (packs ? kPack : 1)), kPoolThreads, 0, stream, args);
  });
}

void maxpool2d_backward(const MaxPool2dBackwardArgs& args, Stream stream) {
  const std::int64_t inputs =
      static_cast<std::int64_t>(args.batch) * args.window.height * args.window.width * args.channels;
  with_type(args.type, [&]<class T>() {
    constexpr int kPack = kPackOf<T>;
    const bool packs =
        args.channels % kPack == 0 && aligned16(args.dx) && aligned16(args.dy) && aligned16(args.y);
    launch_dependent(packs ? QUERN_KERNEL(maxpool2d_backward_kernel<T, kPack>)
                           : QUERN_KERNEL(maxpool2d_backward_kernel<T, 1>),
                     pool_grid(inputs / (packs ? kPack : 1)), kPoolThreads, 0, stream, args);
  });
}

}  // namespace quern::kernels::QUERN_TARGET
