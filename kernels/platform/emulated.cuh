#pragma once

/// The platform under a plain C++ compiler: qualifiers, shared memory and launches of the SIMT emulator. See
/// kernels/platform.cuh. Needs no CUDA toolkit.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/launcher.hpp"
#include "quern/device.hpp"
#include "simt/runtime.hpp"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))

/// The place in the kernel's source that calls a function of the emulator: a last, defaulted parameter.
#define QUERN_SITE ::quern::simt::Site site = ::quern::simt::Site::current()

namespace quern::kernels::QUERN_TARGET {

using simt::blockDim;
using simt::blockIdx;
using simt::gridDim;
using simt::threadIdx;

using simt::char2;
using simt::char4;
using simt::dim3;
using simt::double2;
using simt::float2;
using simt::float3;
using simt::float4;
using simt::int2;
using simt::int4;
using simt::short2;
using simt::short4;
using simt::uchar2;
using simt::uchar4;
using simt::uint2;
using simt::uint3;
using simt::uint4;
using simt::ushort2;
using simt::ushort4;

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kInstrumented = true;
#else
inline constexpr bool kInstrumented = false;
#endif

template <class... Params>
struct Kernel {
  void (*function)(Params...);
  const char* name;
};
template <class... Params>
Kernel(void (*)(Params...), const char*) -> Kernel<Params...>;

#define QUERN_KERNEL(...) (::quern::kernels::QUERN_TARGET::Kernel{&__VA_ARGS__, #__VA_ARGS__})

/// See platform/cuda.cuh. The emulator runs one launch after the other, and checks that programmatic ones
/// join the stream.
struct LaunchOptions {
  bool programmatic = false;
  bool later_phase = false;  ///< of a kernel whose launch has begun
};

template <class... Params, class... Args>
void launch_with(LaunchOptions options, Kernel<Params...> kernel, dim3 grid, dim3 block,
                 std::size_t shared_bytes, Stream, Args&&... args) {
  static_assert(sizeof...(Params) == sizeof...(Args), "launch: wrong number of kernel arguments");
  // Every thread of the grid gets its own copies of the arguments, as on a device. They are taken from here,
  // not from wherever the caller keeps them, so that the race detector knows them for arguments.
  const std::tuple<Params...> parameters(static_cast<Params>(args)...);
  const auto body = [&] { std::apply(kernel.function, parameters); };
  simt::GridLaunch grid_launch;
  grid_launch.kernel = kernel.name;
  grid_launch.grid = grid;
  grid_launch.block = block;
  grid_launch.dynamic_shared_bytes = shared_bytes;
  grid_launch.asked_for_shared = asks_for_shared(shared_bytes);
  grid_launch.invoke = [](const void* invocation) { (*static_cast<const decltype(body)*>(invocation))(); };
  grid_launch.invocation = &body;
  grid_launch.instrumented = kInstrumented;
  grid_launch.programmatic = options.programmatic;
  grid_launch.later_phase = options.later_phase;
  simt::run_grid(grid_launch);
}

template <class... Params, class... Args>
void launch(Kernel<Params...> kernel, dim3 grid, dim3 block, std::size_t shared_bytes, Stream stream,
            Args&&... args) {
  launch_with(LaunchOptions{}, kernel, grid, block, shared_bytes, stream, std::forward<Args>(args)...);
}

template <class... Params, class... Args>
void launch_dependent(Kernel<Params...> kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                      Stream stream, Args&&... args) {
  launch_with(LaunchOptions{.programmatic = true}, kernel, grid, block, shared_bytes, stream,
              std::forward<Args>(args)...);
}

template <class... PhaseTypes>
struct Phases {};

template <class Params, class Phase>
void phase_kernel(Params params) {
  Phase::run(params);
}

/// See platform/cuda.cuh. Here a phase is a launch: the end of one is a barrier of all blocks, and nothing
/// but global memory outlives it.
template <int threads, int blocks, class Params, class... PhaseTypes>
void launch_phases(Phases<PhaseTypes...>, const char* name, int multiprocessors, std::int64_t wanted_blocks,
                   Stream stream, const Params& params, unsigned*) {
  static_assert(sizeof...(PhaseTypes) % 2 == 1, "an even number of barriers");
  const std::int64_t most = static_cast<std::int64_t>(multiprocessors) * blocks;
  const auto grid = static_cast<unsigned>(wanted_blocks < most ? wanted_blocks : most);
  LaunchOptions options;
  ((launch_with(options, Kernel<Params>{&phase_kernel<Params, PhaseTypes>, name}, grid, threads, 0, stream,
                params),
    options.later_phase = true),
   ...);
}

#define QUERN_SHARED_ALIGNED(alignment, name, ...)                                              \
  static const char quern_key_of_##name = 0;                                                    \
  auto& name = *static_cast<::std::type_identity_t<__VA_ARGS__>*>(::quern::simt::static_shared( \
      &quern_key_of_##name, #name, sizeof(::std::type_identity_t<__VA_ARGS__>), alignment))
#define QUERN_SHARED(name, ...) QUERN_SHARED_ALIGNED(16, name, __VA_ARGS__)

#define QUERN_DYNAMIC_SHARED(name, ...) \
  auto* const name = static_cast<__VA_ARGS__*>(::quern::simt::dynamic_shared())

/// See platform/cuda.cuh. Here each piece stands between red zones.
class DynamicShared {
 public:
  template <class T, std::size_t alignment = 16>
  T* take(std::size_t count, QUERN_SITE) {
    offset_ = (offset_ + alignment - 1) / alignment * alignment;
    T* const piece = static_cast<T*>(simt::carve_dynamic_shared(offset_, count * sizeof(T), alignment, site));
    offset_ += count * sizeof(T);
    return piece;
  }

 private:
  std::size_t offset_ = 0;
};

}  // namespace quern::kernels::QUERN_TARGET
