// ReLU, forward and backward.
//
// Versions
//   1  Four elements a thread, 16-byte accesses, one pass over the grid. A memory-bound kernel: nothing else
//   matters. Predicted at the
//      floor for tensors larger than the second-level cache; not measured yet.
//
// Floor: forward moves 8 bytes an element, backward 12. For 64 x 28 x 28 x 32 (the seed net's first
// activation at batch 64) that is 12.8 MB and 19.3 MB: 2.7 us and 4.0 us at an H200's 4.8 TB/s; at batch
// 1024, 43 us and 64 us.

#include "kernels/relu.cuh"

#include "kernels/elementwise.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

// Not fmaxf, which turns NaN into 0: a NaN upstream must stay visible.
__device__ __forceinline__ float relu(float x) {
  return x < 0.0f ? 0.0f : x;
}

__device__ __forceinline__ float mask(float dy, float y) {
  return y > 0.0f ? dy : 0.0f;
}

template <bool vectorised>
__global__ void __launch_bounds__(kElementwiseThreads)
    relu_forward_kernel(const float* x, float* y, std::int64_t elements) {
  for_each_element<vectorised>(
      elements,
      [&](std::int64_t i) {
        const float4 v = load4(x + i);
        store4(y + i, make_float4(relu(v.x), relu(v.y), relu(v.z), relu(v.w)));
      },
      [&](std::int64_t i) { y[i] = relu(x[i]); });
}

template <bool vectorised>
__global__ void __launch_bounds__(kElementwiseThreads)
    relu_backward_kernel(const float* dy, const float* y, float* dx, std::int64_t elements) {
  for_each_element<vectorised>(
      elements,
      [&](std::int64_t i) {
        const float4 g = load4(dy + i), v = load4(y + i);
        store4(dx + i, make_float4(mask(g.x, v.x), mask(g.y, v.y), mask(g.z, v.z), mask(g.w, v.w)));
      },
      [&](std::int64_t i) { dx[i] = mask(dy[i], y[i]); });
}

}  // namespace

void relu_forward(const ReluForwardArgs& args, Stream stream) {
  if (args.elements == 0) return;
  const bool vectorised = aligned16(args.x) && aligned16(args.y);
  launch(vectorised ? QUERN_KERNEL(relu_forward_kernel<true>) : QUERN_KERNEL(relu_forward_kernel<false>),
         elementwise_grid(args.elements), kElementwiseThreads, 0, stream, args.x, args.y, args.elements);
}

void relu_backward(const ReluBackwardArgs& args, Stream stream) {
  if (args.elements == 0) return;
  const bool vectorised = aligned16(args.dy) && aligned16(args.y) && aligned16(args.dx);
  launch(vectorised ? QUERN_KERNEL(relu_backward_kernel<true>) : QUERN_KERNEL(relu_backward_kernel<false>),
         elementwise_grid(args.elements), kElementwiseThreads, 0, stream, args.dy, args.y, args.dx,
         args.elements);
}

}  // namespace quern::kernels::QUERN_TARGET
