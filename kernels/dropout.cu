// Dropout, forward and backward: the mask is drawn again instead of stored.
//
// Versions
//   1  A thread draws one Philox block, which has the four numbers of its four consecutive elements, so that
//   drawing
//      costs ten rounds for 32 bytes moved. Predicted at the memory floor for large tensors; not measured
//      yet.
//   2  The same for bf16: two blocks for eight elements; starts while the kernel before it ends.
//
// Floor: 8 bytes an fp32 element, 4 in bf16, and 10 Philox rounds (2 wide multiplies, 6 other integer
// operations each) for every four. The seed nets have no dropout; for the 256 units of `mlp` at batch 1024
// that is 2.1 MB, 0.4 us at an H200's 4.8 TB/s, below the launch.

#include "kernels/dropout.cuh"

#include "kernels/elementwise.cuh"
#include "quern/philox.hpp"

namespace quern::kernels::QUERN_TARGET {

namespace {

// A zeroed element is zero even where the operand is not finite, hence no multiplication by the mask.
__device__ __forceinline__ float drop(float value, std::uint32_t bits, float probability, float scale) {
  return uniform_from_u32(bits) >= probability ? value * scale : 0.0f;
}

template <class T, bool vectorised>
__global__ void __launch_bounds__(kElementwiseThreads)
    dropout_kernel(const StepScalars* step, const T* from, T* to, std::int64_t elements, float probability,
                   float scale, std::uint32_t stream) {
  join_stream();
  const auto block_of = [&](std::int64_t i) {
    return philox_block(step->seed, RandomPurpose::dropout, stream, step->step,
                        static_cast<std::uint64_t>(i) / 4);
  };
  for_each_pack<T, vectorised>(elements, [&]<int width>(std::int64_t i) {
    Pack<width> v = load_pack<width>(from + i);
    if constexpr (width == 1) {
      v.v[0] = drop(v.v[0], philox_lane(block_of(i), static_cast<unsigned>(i % 4)), probability, scale);
    } else {
#pragma unroll
      for (int j = 0; j < width; j += 4) {
        const Philox4 bits = block_of(i + j);
        v.v[j] = drop(v.v[j], bits.x, probability, scale);
        v.v[j + 1] = drop(v.v[j + 1], bits.y, probability, scale);
        v.v[j + 2] = drop(v.v[j + 2], bits.z, probability, scale);
        v.v[j + 3] = drop(v.v[j + 3], bits.w, probability, scale);
      }
    }
    store_pack(to + i, v);
  });
}

}  // namespace

void dropout_apply(const DropoutArgs& args, Stream stream) {
  if (args.elements == 0) return;
  const auto scale = static_cast<float>(1.0 / (1.0 - static_cast<double>(args.probability)));
  const bool vectorised = aligned16(args.from) && aligned16(args.to);
  with_type(args.type, [&]<class T>() {
    launch_dependent(
        vectorised ? QUERN_KERNEL(dropout_kernel<T, true>) : QUERN_KERNEL(dropout_kernel<T, false>),
        elementwise_grid<T>(args.elements), kElementwiseThreads, 0, stream, args.step,
        static_cast<const T*>(args.from), static_cast<T*>(args.to), args.elements, args.probability, scale,
        args.stream);
  });
}

}  // namespace quern::kernels::QUERN_TARGET
