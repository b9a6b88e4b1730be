#pragma once

/// The platform that kernels are written on: one source for nvcc and, as plain C++, for the SIMT emulator.
///
/// A kernel file puts its code into `namespace quern::kernels::QUERN_TARGET` and uses CUDA C++ as it is
/// (qualifiers, threadIdx,
/// __syncthreads, shuffles, vector types, fast math: see platform/emulated_builtins.cuh for the list), except
/// for four things that plain C++ cannot parse or the emulator must see:
///
///   launch(QUERN_KERNEL(relu_kernel<4>), grid, block, shared_bytes, stream, args...)
///                                              instead of relu_kernel<4><<<grid, block, shared_bytes,
///                                              stream>>>(args...)
///   QUERN_SHARED(tile, float[32][33]);         instead of  __shared__ float tile[32][33];   (16-byte
///   aligned) QUERN_DYNAMIC_SHARED(memory, float);       a float* to the block's dynamic shared memory
///   (1024-byte aligned) DynamicShared shared;                      or carve it: float* a =
///   shared.take<float>(n); float* b = shared.take<float>(m);
///                                              the emulator puts red zones between the pieces
///   kernels/intrinsics.cuh                     instead of inline PTX
///
/// `launch_dependent` takes the same arguments, for kernels that call join_stream() (intrinsics/barrier.cuh):
/// on sm_90 and later they start while the kernel before them ends, unless set_programmatic_launch(false)
/// (launcher.hpp).
///
/// launch_phases(Phases<Sum, Merge, Apply>{}, ...) launches one kernel whose phases all blocks enter together
/// (a cooperative launch; three launches for the emulator, whose ends are the barriers).
///
/// `launch` checks the launch and throws quern::Error with the kernel's name. Dynamic shared memory above 48
/// KiB is asked for by it.

#if !defined(QUERN_TARGET)
#error \
    "kernel files are compiled through quern_kernel_library() (cmake/QuernKernels.cmake), which defines QUERN_TARGET"
#endif

#if defined(__CUDACC__)
#include "kernels/platform/cuda.cuh"
#else
#include "kernels/platform/emulated.cuh"
#include "kernels/platform/emulated_builtins.cuh"
#endif
