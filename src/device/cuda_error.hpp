#pragma once

/// How CUDA's error codes become quern::Error. Free of CUDA's headers and of fmt, so that kernel files may
/// include it.

namespace quern {

/// Throws a device error that names the kernel unless `code` (a cudaError_t) is cudaSuccess.
void check_launch(int code, const char* kernel);

/// Throws a device error that names the call unless `code` (a cudaError_t) is cudaSuccess.
void check_cuda(int code, const char* call);

}  // namespace quern
