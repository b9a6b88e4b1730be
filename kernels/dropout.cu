// Dropout, forward and backward: the mask is drawn again instead of stored.
//
// Versions
//   1  A thread draws one Philox block, which has the four numbers of its four consecutive elements, so that
//   drawing
//      costs ten rounds for 32 bytes moved. Predicted at the memory floor for large tensors; not measured
//      yet.
//
// Floor: 8 bytes an element and 10 Philox rounds (2 wide multiplies, 6 other integer operations each) for
// every four. The seed nets have no dropout; for the 256 units of `mlp` at batch 1024 that is 2.1 MB, 0.4 us
// at an H200's 4.8 TB/s, below the launch.

#include "kernels/dropout.cuh"

#include "kernels/elementwise.cuh"
#include "quern/philox.hpp"

namespace quern::kernels::QUERN_TARGET {

namespace {

// A zeroed element is zero even where the operand is not finite, hence no multiplication by the mask.
__device__ __forceinline__ float drop(float value, std::uint32_t bits, float probability, float scale) {
  return uniform_from_u32(bits) >= probability ? value * scale : 0.0f;
}

template <bool vectorised>
__global__ void __launch_bounds__(kElementwiseThreads)
    dropout_kernel(const StepScalars* step, const float* from, float* to, std::int64_t elements,
                   float probability, float scale, std::uint32_t stream) {
  const auto block_of = [&](std::int64_t i) {
    return philox_block(step->seed, RandomPurpose::dropout, stream, step->step,
                        static_cast<std::uint64_t>(i) / 4);
  };
  for_each_element<vectorised>(
      elements,
      [&](std::int64_t i) {
        const Philox4 bits = block_of(i);
        const float4 v = load4(from + i);
        store4(to + i,
               make_float4(drop(v.x, bits.x, probability, scale), drop(v.y, bits.y, probability, scale),
                           drop(v.z, bits.z, probability, scale), drop(v.w, bits.w, probability, scale)));
      },
      [&](std::int64_t i) {
        to[i] = drop(from[i], philox_lane(block_of(i), static_cast<unsigned>(i % 4)), probability, scale);
      });
}

}  // namespace

void dropout_apply(const DropoutArgs& args, Stream stream) {
  if (args.elements == 0) return;
  const auto scale = static_cast<float>(1.0 / (1.0 - static_cast<double>(args.probability)));
  const bool vectorised = aligned16(args.from) && aligned16(args.to);
  launch(vectorised ? QUERN_KERNEL(dropout_kernel<true>) : QUERN_KERNEL(dropout_kernel<false>),
         elementwise_grid(args.elements), kElementwiseThreads, 0, stream, args.step, args.from, args.to,
         args.elements, args.probability, scale, args.stream);
}

}  // namespace quern::kernels::QUERN_TARGET
