#pragma once

/// Activations in memory and in registers. A kernel computes in fp32 whatever they are stored as: float, or
/// bf16 where the precision says so (rounded to nearest, ties to even, where stored).
///
///   Pack<width>   `width` consecutive elements in a thread's registers. kPackOf<T> of them are one 16-byte
///                 access: 4 floats, 8 bf16; a width of 1 is for ragged ends and unaligned arrays.
///   with_type     from an argument's DType to the type that a kernel is compiled for: for launchers

#include "kernels/intrinsics.cuh"
#include "kernels/platform.cuh"
#include "quern/tensor.hpp"

namespace quern::kernels::QUERN_TARGET {

__device__ __forceinline__ float activation(float x) {
  return x;
}
__device__ __forceinline__ float activation(bf16 x) {
  return to_float(x);
}
template <class T>
__device__ __forceinline__ T stored_as(float x) {
  if constexpr (sizeof(T) == sizeof(float))
    return x;
  else
    return to_bf16(x);
}

template <int width>
struct Pack {
  float v[width];
};

/// Elements of T in 16 bytes.
template <class T>
inline constexpr int kPackOf = 16 / static_cast<int>(sizeof(T));

/// `width` is 1 or a multiple of 4. The address is a multiple of 16 bytes unless it is 1.
template <int width>
__device__ __forceinline__ Pack<width> load_pack(const float* address) {
  Pack<width> pack;
  if constexpr (width == 1) {
    pack.v[0] = *address;
  } else {
#pragma unroll
    for (int i = 0; i < width; i += 4) {
      const float4 quad = load4(address + i);
      pack.v[i] = quad.x, pack.v[i + 1] = quad.y, pack.v[i + 2] = quad.z, pack.v[i + 3] = quad.w;
    }
  }
  return pack;
}

/// `width` is 1 or 8, aligned as above.
template <int width>
__device__ __forceinline__ Pack<width> load_pack(const bf16* address) {
  static_assert(width == 1 || width == 8);
  Pack<width> pack;
  if constexpr (width == 1) {
    pack.v[0] = to_float(*address);
  } else {
    const uint4 words = load_words(address);
    const std::uint32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair = unpack_bf16x2(pairs[i]);
      pack.v[2 * i] = pair.x, pack.v[2 * i + 1] = pair.y;
    }
  }
  return pack;
}

template <int width>
__device__ __forceinline__ void store_pack(float* address, const Pack<width>& pack) {
  if constexpr (width == 1) {
    *address = pack.v[0];
  } else {
#pragma unroll
    for (int i = 0; i < width; i += 4)
      store4(address + i, make_float4(pack.v[i], pack.v[i + 1], pack.v[i + 2], pack.v[i + 3]));
  }
}

template <int width>
__device__ __forceinline__ void store_pack(bf16* address, const Pack<width>& pack) {
  static_assert(width == 1 || width == 8);
  if constexpr (width == 1)
    *address = to_bf16(pack.v[0]);
  else
    store_words(address, make_uint4(pack_bf16x2(pack.v[0], pack.v[1]), pack_bf16x2(pack.v[2], pack.v[3]),
                                    pack_bf16x2(pack.v[4], pack.v[5]), pack_bf16x2(pack.v[6], pack.v[7])));
}

/// An activation whose type is known when the kernel runs: for small tensors, where a branch costs nothing.
struct Source {
  const void* data;
  bool is_bf16;
  __device__ __forceinline__ float operator[](std::int64_t i) const {
    return is_bf16 ? to_float(static_cast<const bf16*>(data)[i]) : static_cast<const float*>(data)[i];
  }
};
struct Destination {
  void* data;
  bool is_bf16;
  __device__ __forceinline__ void store(std::int64_t i, float value) const {
    if (is_bf16)
      static_cast<bf16*>(data)[i] = to_bf16(value);
    else
      static_cast<float*>(data)[i] = value;
  }
};

/// Calls f<T>() with the type that activations of `type` have in memory.
template <class F>
void with_type(DType type, const F& f) {
  if (type == DType::bf16)
    f.template operator()<bf16>();
  else
    f.template operator()<float>();
}

}  // namespace quern::kernels::QUERN_TARGET
