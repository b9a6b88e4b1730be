// ReLU, forward and backward.
//
// Versions
//   1  Four elements a thread, 16-byte accesses, one pass over the grid. A memory-bound kernel: nothing else
//   matters. Predicted at the
//      floor for tensors larger than the second-level cache; not measured yet.
//   2  The same for bf16, eight elements a thread; starts while the kernel before it ends.
//
// Floor: forward moves 8 bytes an fp32 element, backward 12; half of that in bf16. For 64 x 28 x 28 x 32 (the
// seed net's first activation at batch 64) that is 12.8 MB and 19.3 MB: 2.7 us and 4.0 us at an H200's 4.8
// TB/s; at batch 1024, 43 us and 64 us.

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

template <class T, bool vectorised>
__global__ void __launch_bounds__(kElementwiseThreads)
    relu_forward_kernel(const T* x, T* y, std::int64_t elements) {
  join_stream();
  for_each_pack<T, vectorised>(elements, [&]<int width>(std::int64_t i) {
    Pack<width> v = load_pack<width>(x + i);
#pragma unroll
    for (int j = 0; j < width; ++j) v.v[j] = relu(v.v[j]);
    store_pack(y + i, v);
  });
}

template <class T, bool vectorised>
__global__ void __launch_bounds__(kElementwiseThreads)
    relu_backward_kernel(const T* dy, const T* y, T* dx, std::int64_t elements) {
  join_stream();
  for_each_pack<T, vectorised>(elements, [&]<int width>(std::int64_t i) {
    Pack<width> g = load_pack<width>(dy + i);
    const Pack<width> v = load_pack<width>(y + i);
#pragma unroll
    for (int j = 0; j < width; ++j) g.v[j] = mask(g.v[j], v.v[j]);
    store_pack(dx + i, g);
  });
}

}  // namespace

void relu_forward(const ReluForwardArgs& args, Stream stream) {
  if (args.elements == 0) return;
  const bool vectorised = aligned16(args.x) && aligned16(args.y);
  with_type(args.type, [&]<class T>() {
    launch_dependent(
        vectorised ? QUERN_KERNEL(relu_forward_kernel<T, true>) : QUERN_KERNEL(relu_forward_kernel<T, false>),
        elementwise_grid<T>(args.elements), kElementwiseThreads, 0, stream, static_cast<const T*>(args.x),
        static_cast<T*>(args.y), args.elements);
  });
}

void relu_backward(const ReluBackwardArgs& args, Stream stream) {
  if (args.elements == 0) return;
  const bool vectorised = aligned16(args.dy) && aligned16(args.y) && aligned16(args.dx);
  with_type(args.type, [&]<class T>() {
    launch_dependent(vectorised ? QUERN_KERNEL(relu_backward_kernel<T, true>)
                                : QUERN_KERNEL(relu_backward_kernel<T, false>),
                     elementwise_grid<T>(args.elements), kElementwiseThreads, 0, stream,
                     static_cast<const T*>(args.dy), static_cast<const T*>(args.y), static_cast<T*>(args.dx),
                     args.elements);
  });
}

}  // namespace quern::kernels::QUERN_TARGET
