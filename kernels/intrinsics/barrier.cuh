#pragma once

/// Barriers of part of a block, and the two halves of programmatic dependent launch.
///
///   named_barrier_sync(id, threads)    PTX bar.sync: waits until `threads` threads (whole warps) have come
///   to barrier `id` named_barrier_arrive(id, threads)  PTX bar.arrive: counts as one of them without waiting
///                                      id 1 to 15; barrier 0 is __syncthreads
///   grid_dependency_wait()             PTX griddepcontrol.wait: what the preceding kernel wrote is visible
///   from here on.
///                                      From sm_90 on; nothing below, where kernels never overlap
///   grid_dependency_launch()           PTX griddepcontrol.launch_dependents: the next kernel may start

#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

#if defined(__CUDACC__)

__device__ __forceinline__ void named_barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void grid_dependency_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void grid_dependency_launch() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#else

__forceinline__ void named_barrier_sync(int id, int threads, QUERN_SITE) {
  simt::named_barrier_sync(id, threads, site);
}

__forceinline__ void named_barrier_arrive(int id, int threads, QUERN_SITE) {
  simt::named_barrier_arrive(id, threads, site);
}

__forceinline__ void grid_dependency_wait() {}
__forceinline__ void grid_dependency_launch() {}

#endif

}  // namespace quern::kernels::QUERN_TARGET
