#pragma once

/// The platform under nvcc. See kernels/platform.cuh.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "device/cuda_error.hpp"
#include "kernels/launcher.hpp"
#include "quern/device.hpp"

namespace quern::kernels::QUERN_TARGET {

template <class... Params>
struct Kernel {
  void (*function)(Params...);
  const char* name;
};
template <class... Params>
Kernel(void (*)(Params...), const char*) -> Kernel<Params...>;

#define QUERN_KERNEL(...) (::quern::kernels::QUERN_TARGET::Kernel{&__VA_ARGS__, #__VA_ARGS__})

/// The oldest architecture, as in __CUDA_ARCH__, whose code waits in join_stream(). A newer GPU may still run
/// older code, compiled when it is loaded, if this program was built without any for it.
inline constexpr int kOverlapsFrom = [] {
  int oldest = 1 << 30;
  for (const int architecture : {__CUDA_ARCH_LIST__})
    if (architecture >= 900 && architecture < oldest) oldest = architecture;
  return oldest;
}();

/// How a launch may differ from the plain one.
struct LaunchOptions {
  /// Programmatic dependent launch: the kernel may start before its predecessor on the stream has ended, and
  /// must call join_stream() before it touches global memory. From sm_90 on; ignored below.
  bool programmatic = false;
};

template <class... Params, class... Args>
void launch_with(LaunchOptions options, Kernel<Params...> kernel, dim3 grid, dim3 block,
                 std::size_t shared_bytes, Stream stream, Args&&... args) {
  static_assert(sizeof...(Params) == sizeof...(Args), "launch: wrong number of kernel arguments");
  if (asks_for_shared(shared_bytes)) {
    // The limit belongs to the function, not to the launch: one below the default would take from a launch of
    // another thread what that need not ask for.
    const std::size_t limit = shared_bytes > kSharedUnasked ? shared_bytes : kSharedUnasked;
    check_launch(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel.function),
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(limit)),
                 kernel.name);
  }
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream.handle);
  config.attrs = &attribute;
  config.numAttrs = options.programmatic && programmatic_launch() && overlaps_kernels(kOverlapsFrom) ? 1 : 0;
  check_launch(cudaLaunchKernelEx(&config, kernel.function, static_cast<Params>(args)...), kernel.name);
}

template <class... Params, class... Args>
void launch(Kernel<Params...> kernel, dim3 grid, dim3 block, std::size_t shared_bytes, Stream stream,
            Args&&... args) {
  launch_with(LaunchOptions{}, kernel, grid, block, shared_bytes, stream, static_cast<Args&&>(args)...);
}

/// For kernels that call join_stream().
template <class... Params, class... Args>
void launch_dependent(Kernel<Params...> kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                      Stream stream, Args&&... args) {
  launch_with(LaunchOptions{.programmatic = true}, kernel, grid, block, shared_bytes, stream,
              static_cast<Args&&>(args)...);
}

/// Waits until all threads of a cooperative launch have come here; what they wrote to global memory before is
/// then visible to all. `state` is 0 before the first barrier of a launch, and after an even number of them.
__device__ __forceinline__ void grid_barrier(unsigned* state) {
  __syncthreads();
  if (threadIdx.x == 0) {
    // All increments together flip the highest bit, which is what everybody waits for.
    constexpr unsigned kFlip = 0x80000000u;
    __threadfence();
    const unsigned before = atomicAdd(state, blockIdx.x == 0 ? kFlip - (gridDim.x - 1) : 1u);
    while (((before ^ *static_cast<volatile unsigned*>(state)) & kFlip) == 0) {
    }
    __threadfence();
  }
  __syncthreads();
}

template <int threads, int blocks, class Params, class... PhaseTypes>
__global__ void __launch_bounds__(threads, blocks)
    phases_kernel(const __grid_constant__ Params params, unsigned* barrier) {
  // The next kernel may come up as soon as every block of this one is there.
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
  bool first = true;
  ((first ? void() : grid_barrier(barrier), first = false, PhaseTypes::run(params)), ...);
}

/// The phases of one kernel: see launch_phases().
template <class... PhaseTypes>
struct Phases {};

/// One launch of a kernel of several phases, between which all blocks wait for each other; a phase is a type
/// with `static __device__ void run(const Params&)`. Nothing but global memory outlives a phase. For three
/// phases: an even number of barriers leaves `barrier` as it was, zero. At most `blocks` blocks of `threads`
/// threads a multiprocessor: all have to be there at once, which a cooperative launch makes sure of.
template <int threads, int blocks, class Params, class... PhaseTypes>
void launch_phases(Phases<PhaseTypes...>, const char* name, int multiprocessors, std::int64_t wanted_blocks,
                   Stream stream, const Params& params, unsigned* barrier) {
  static_assert(sizeof...(PhaseTypes) % 2 == 1, "an even number of barriers");
  const std::int64_t most = static_cast<std::int64_t>(multiprocessors) * blocks;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = static_cast<unsigned>(wanted_blocks < most ? wanted_blocks : most);
  config.blockDim = threads;
  config.stream = static_cast<cudaStream_t>(stream.handle);
  config.attrs = &attribute;
  config.numAttrs = 1;
  check_launch(
      cudaLaunchKernelEx(&config, phases_kernel<threads, blocks, Params, PhaseTypes...>, params, barrier),
      name);
}

#define QUERN_SHARED_ALIGNED(alignment, name, ...) \
  __shared__ __align__(alignment)::std::type_identity_t<__VA_ARGS__> name
#define QUERN_SHARED(name, ...) QUERN_SHARED_ALIGNED(16, name, __VA_ARGS__)

/// One symbol for the dynamic shared memory of all kernels; the view gives it a type.
__device__ __forceinline__ unsigned char* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char quern_dynamic_shared[];
  return quern_dynamic_shared;
}
#define QUERN_DYNAMIC_SHARED(name, ...) \
  auto* const name = reinterpret_cast<__VA_ARGS__*>(::quern::kernels::QUERN_TARGET::dynamic_shared())

/// Hands out pieces of the dynamic shared memory, each aligned to `alignment`. All threads take the same
/// pieces in the same order. The launch asks for shared_bytes_of<T>(count) summed over the pieces.
class DynamicShared {
 public:
  template <class T, std::size_t alignment = 16>
  __device__ __forceinline__ T* take(std::size_t count) {
    offset_ = (offset_ + alignment - 1) / alignment * alignment;
    T* const piece = reinterpret_cast<T*>(dynamic_shared() + offset_);
    offset_ += count * sizeof(T);
    // Tells profiling/kernel_table.py: the PTX knows the size of static shared memory alone.
    asm volatile("// dynamic shared memory up to byte %0" ::"l"(offset_));
    return piece;
  }

 private:
  std::size_t offset_ = 0;
};

}  // namespace quern::kernels::QUERN_TARGET
