// Casts between f32 and bf16.
//
// Versions
//   1  One element a thread: what is cast are weights and biases, a few hundred kilobytes that the next
//   kernel reads from the second-level cache. Not measured yet.
//
// Floor: 6 bytes an element.

#include "kernels/cast.cuh"

#include "kernels/intrinsics.cuh"
#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kThreads = 256;

dim3 grid(std::int64_t elements) {
  return dim3(static_cast<unsigned>((elements + kThreads - 1) / kThreads));
}

// Thread i takes element i of a grid that covers all of them.
__global__ void __launch_bounds__(kThreads)
    cast_to_bf16_kernel(const float* x, bf16* y, std::int64_t elements) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < elements) y[i] = to_bf16(x[i]);
}

__global__ void __launch_bounds__(kThreads)
    cast_to_f32_kernel(const bf16* x, float* y, std::int64_t elements) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < elements) y[i] = to_float(x[i]);
}

}  // namespace

void cast_to_bf16(const CastArgs& args, Stream stream) {
  if (args.elements == 0) return;
  launch(QUERN_KERNEL(cast_to_bf16_kernel), grid(args.elements), kThreads, 0, stream,
         static_cast<const float*>(args.x), static_cast<bf16*>(args.y), args.elements);
}

void cast_to_f32(const CastArgs& args, Stream stream) {
  if (args.elements == 0) return;
  launch(QUERN_KERNEL(cast_to_f32_kernel), grid(args.elements), kThreads, 0, stream,
         static_cast<const bf16*>(args.x), static_cast<float*>(args.y), args.elements);
}

}  // namespace quern::kernels::QUERN_TARGET
