#pragma once

/// 16-byte accesses: four floats, or four words of anything. The address must be a multiple of 16; the
/// emulator fails the kernel where it is not.

#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

#if defined(__CUDACC__)

__device__ __forceinline__ float4 load4(const float* address) {
  return *reinterpret_cast<const float4*>(address);
}

__device__ __forceinline__ void store4(float* address, float4 value) {
  *reinterpret_cast<float4*>(address) = value;
}

__device__ __forceinline__ uint4 load_words(const void* address) {
  return *static_cast<const uint4*>(address);
}

__device__ __forceinline__ void store_words(void* address, uint4 value) {
  *static_cast<uint4*>(address) = value;
}

#else

__forceinline__ float4 load4(const float* address, QUERN_SITE) {
  if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) simt::fail_misaligned(address, 16, site);
  return *reinterpret_cast<const float4*>(address);
}

__forceinline__ void store4(float* address, float4 value, QUERN_SITE) {
  if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) simt::fail_misaligned(address, 16, site);
  *reinterpret_cast<float4*>(address) = value;
}

__forceinline__ uint4 load_words(const void* address, QUERN_SITE) {
  if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) simt::fail_misaligned(address, 16, site);
  return *static_cast<const uint4*>(address);
}

__forceinline__ void store_words(void* address, uint4 value, QUERN_SITE) {
  if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) simt::fail_misaligned(address, 16, site);
  *static_cast<uint4*>(address) = value;
}

#endif

/// Whether 16-byte accesses may be used on an array: for launchers, which choose between kernels by it.
__host__ __device__ __forceinline__ bool aligned16(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
}

}  // namespace quern::kernels::QUERN_TARGET
