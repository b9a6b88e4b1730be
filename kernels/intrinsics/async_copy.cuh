#pragma once

/// Asynchronous copies from global to shared memory (PTX cp.async, from sm_80 on; below it they copy at
/// once). Addresses are multiples of the size.
///
///   cp_async_16(shared, global)          16 bytes, past the first-level cache
///   cp_async_16_cached(shared, global)   16 bytes through it, for data that a block reads again
///   cp_async_4, cp_async_8               likewise, always through it
///   cp_async_16(shared, global, count)   copies `count` bytes (0 to 16) and fills the rest with zeros;
///                                        with 0 the source is not touched, but must be a valid pointer
///   cp_async_commit()                    closes the group of this thread's copies since the last one
///   cp_async_wait<N>()                   returns when at most N newest groups of this thread are under way
///   cp_async_wait_all()                  returns when none is, closed or not
///
/// A wait makes a thread's own copies visible to itself; others see them after a __syncthreads() that follows
/// it. Under the emulator the bytes arrive at the wait and are NaN before it.

#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

#if defined(__CUDACC__)

// clang-format off
#define QUERN_CP_ASYNC(name, bytes, cache)                                                               \
  __device__ __forceinline__ void name(void* shared, const void* global, unsigned source_bytes) {        \
    QUERN_CP_ASYNC_BODY(bytes, cache)                                                                    \
  }                                                                                                      \
  __device__ __forceinline__ void name(void* shared, const void* global) { name(shared, global, bytes); }
// clang-format on

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define QUERN_CP_ASYNC_BODY(bytes, cache)                                                                  \
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(shared));                            \
  asm volatile("cp.async." cache ".shared.global [%0], [%1], " #bytes ", %2;" ::"r"(address), "l"(global), \
               "r"(source_bytes)                                                                           \
               : "memory");
#else
#define QUERN_CP_ASYNC_BODY(bytes, cache)    \
  for (unsigned i = 0; i < bytes; ++i)       \
    static_cast<unsigned char*>(shared)[i] = \
        i < source_bytes ? static_cast<const unsigned char*>(global)[i] : static_cast<unsigned char>(0);
#endif

QUERN_CP_ASYNC(cp_async_4, 4, "ca")
QUERN_CP_ASYNC(cp_async_8, 8, "ca")
QUERN_CP_ASYNC(cp_async_16, 16, "cg")
QUERN_CP_ASYNC(cp_async_16_cached, 16, "ca")
#undef QUERN_CP_ASYNC
#undef QUERN_CP_ASYNC_BODY

__device__ __forceinline__ void cp_async_commit() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int pending>
__device__ __forceinline__ void cp_async_wait() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

__device__ __forceinline__ void cp_async_wait_all() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

#else

#define QUERN_CP_ASYNC(name, bytes)                                                                \
  __forceinline__ void name(void* shared, const void* global, unsigned source_bytes, QUERN_SITE) { \
    simt::async_copy(shared, global, bytes, source_bytes, site);                                   \
  }                                                                                                \
  __forceinline__ void name(void* shared, const void* global, QUERN_SITE) {                        \
    simt::async_copy(shared, global, bytes, bytes, site);                                          \
  }
QUERN_CP_ASYNC(cp_async_4, 4)
QUERN_CP_ASYNC(cp_async_8, 8)
QUERN_CP_ASYNC(cp_async_16, 16)
QUERN_CP_ASYNC(cp_async_16_cached, 16)
#undef QUERN_CP_ASYNC

__forceinline__ void cp_async_commit() {
  simt::async_copy_commit();
}

template <int pending>
__forceinline__ void cp_async_wait() {
  simt::async_copy_wait_group(pending);
}

__forceinline__ void cp_async_wait_all() {
  simt::async_copy_wait_all();
}

#endif

}  // namespace quern::kernels::QUERN_TARGET
