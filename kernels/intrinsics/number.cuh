#pragma once

/// Number formats of the tensor cores.
///
///   to_tf32(x)               PTX cvt.rna.tf32.f32: 10 mantissa bits, to nearest, ties away from zero; the
///   bits of an fp32 number bf16                     a bfloat16 in memory; to_bf16(x) rounds to nearest even,
///   to_float(b) is exact pack_bf16x2(low, high)   two of them in a register, as mma.cuh wants them;
///   unpack_bf16x2 is its inverse

#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

#if defined(__CUDACC__)

using bf16 = __nv_bfloat16;

__device__ __forceinline__ std::uint32_t to_tf32(float x) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#else
  return __float_as_uint(x);
#endif
}

__device__ __forceinline__ bf16 to_bf16(float x) {
  return __float2bfloat16_rn(x);
}

__device__ __forceinline__ float to_float(bf16 x) {
  return __bfloat162float(x);
}

__device__ __forceinline__ std::uint32_t pack_bf16x2(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

#else

using bf16 = simt::bfloat16;

__forceinline__ std::uint32_t to_tf32(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return 0x7fffffffu;
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;  // an infinity
  return (bits + 0x1000u) & 0xffffe000u;  // the sign is apart: adding half a unit rounds the magnitude
}

__forceinline__ bf16 to_bf16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return bf16{0x7fff};
  return bf16{static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

__forceinline__ float to_float(bf16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}

__forceinline__ std::uint32_t pack_bf16x2(float low, float high) {
  return to_bf16(low).bits | (static_cast<std::uint32_t>(to_bf16(high).bits) << 16);
}

#endif

__device__ __forceinline__ float2 unpack_bf16x2(std::uint32_t pair) {
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}

}  // namespace quern::kernels::QUERN_TARGET
