#pragma once

/// How CUDA's error codes become quern::Error, and what launches ask of the current GPU. Free of CUDA's
/// headers and of fmt, so that kernel files may include it.

namespace quern {

/// Throws a device error that names the kernel unless `code` (a cudaError_t) is cudaSuccess.
void check_launch(int code, const char* kernel);

/// Throws a device error that names the call unless `code` (a cudaError_t) is cudaSuccess.
void check_cuda(int code, const char* call);

/// Whether kernels overlap on the calling thread's current GPU when launched as programmatic dependents: from
/// sm_90 on, if the program has code that waits for its predecessor, of architecture `from` (900: sm_90) or
/// newer.
bool overlaps_kernels(int from);

}  // namespace quern
