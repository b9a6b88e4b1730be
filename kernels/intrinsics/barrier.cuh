#pragma once

/// Barriers of part of a block, and the two halves of programmatic dependent launch.
///
///   named_barrier_sync(id, threads)    PTX bar.sync: waits until `threads` threads (whole warps) have come
///   to barrier `id` named_barrier_arrive(id, threads)  PTX bar.arrive: counts as one of them without waiting
///                                      id 1 to 15; barrier 0 is __syncthreads
///   grid_dependency_wait()             PTX griddepcontrol.wait: the preceding kernel has ended, and what it
///                                      wrote is visible from here on. From sm_90 on; nothing below, where
///                                      kernels never overlap
///   grid_dependency_launch()           PTX griddepcontrol.launch_dependents: the next kernel may start, once
///                                      every block has called this or ended
///   join_stream()                      both: the end of a kernel's prologue, see below
///
/// A kernel started by launch_dependent() (platform.cuh) runs beside the end of the kernel before it. Its
/// prologue may compute indices and addresses from its parameters and fill shared memory with them; then
/// every thread calls join_stream() once, before it ends or touches global memory, be it to read weights or
/// to write a workspace. That is all it takes: the next kernel's prologue may begin at once, because it waits
/// in its turn until this kernel has ended, which this one cannot do before all earlier ones have. So a
/// kernel past join_stream() sees what every earlier one wrote and overwrites nothing that one still reads,
/// as in plain stream order. The emulator fails threads of such a launch that end without, and its race
/// detector those that touch global memory before.

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

__forceinline__ void grid_dependency_wait() {
  simt::grid_dependency_wait();
}
__forceinline__ void grid_dependency_launch() {}

#endif

__device__ __forceinline__ void join_stream() {
  grid_dependency_launch();
  grid_dependency_wait();
}

}  // namespace quern::kernels::QUERN_TARGET
