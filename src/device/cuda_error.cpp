#include "device/cuda_error.hpp"

#include <cuda_runtime.h>

#include "quern/error.hpp"

namespace quern {

namespace {

const char* name_of(int code) {
  cudaGetLastError();  // a reported error must not be found again by the next check
  return cudaGetErrorName(static_cast<cudaError_t>(code));
}

const char* text_of(int code) {
  return cudaGetErrorString(static_cast<cudaError_t>(code));
}

}  // namespace

void check_launch(int code, const char* kernel) {
  if (code != cudaSuccess) [[unlikely]]
    fail_device("cuda: launch of kernel {} failed: {} ({})", kernel, text_of(code), name_of(code));
}

void check_cuda(int code, const char* call) {
  if (code != cudaSuccess) [[unlikely]]
    fail_device("cuda: {} failed: {} ({})", call, text_of(code), name_of(code));
}

}  // namespace quern
