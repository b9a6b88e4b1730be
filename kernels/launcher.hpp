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

#include "quern/device.hpp"

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
