#pragma once

/// What a kernel family's contract header needs. Every launcher exists once for each target the kernels are
/// compiled for:
///
///   kernels::cuda::relu_forward   for NVIDIA GPUs, where the build has CUDA
///   kernels::emu::relu_forward    for the SIMT emulator
///   kernels::race::relu_forward   for the emulator with the race detector watching every access
///
/// QUERN_DECLARE_LAUNCHER(relu_forward, ReluForwardArgs) declares all three as
/// `void relu_forward(const ReluForwardArgs&, Stream)`. A launcher is stateless, allocates nothing,
/// synchronises nothing, and throws quern::Error when its launch fails.

#include <atomic>
#include <cstddef>

#include "quern/device.hpp"

namespace quern::kernels {

namespace detail {
inline std::atomic<bool> programmatic_launch{true};
}

/// Whether kernels may start while the one before them on the stream ends (programmatic dependent launch):
/// one switch for the process, read at every launch; on by default, and without effect below sm_90. A launch
/// captured into a CUDA graph keeps what it was captured with. Results are the same bits either way.
inline void set_programmatic_launch(bool on) noexcept {
  detail::programmatic_launch.store(on, std::memory_order_relaxed);
}
inline bool programmatic_launch() noexcept {
  return detail::programmatic_launch.load(std::memory_order_relaxed);
}

/// Shared memory of a block, static and dynamic together, that no launch has to ask for.
inline constexpr std::size_t kSharedUnasked = 48 * 1024;
/// Whether a launch with so many dynamic bytes asks for more (cudaFuncSetAttribute). What the kernel declares
/// besides is not known to it: a third of the limit is left for that, and the emulator refuses kernels that
/// need more without asking.
constexpr bool asks_for_shared(std::size_t dynamic_bytes) {
  return dynamic_bytes > kSharedUnasked / 3 * 2;
}

}  // namespace quern::kernels

#define QUERN_DECLARE_LAUNCHER(name, ...)     \
  namespace cuda {                            \
  void name(const __VA_ARGS__& args, Stream); \
  }                                           \
  namespace emu {                             \
  void name(const __VA_ARGS__& args, Stream); \
  }                                           \
  namespace race {                            \
  void name(const __VA_ARGS__& args, Stream); \
  }                                           \
  static_assert(true)
