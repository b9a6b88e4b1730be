#include "device/cuda_error.hpp"

#include <cuda_runtime.h>

#include <array>
#include <atomic>

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

bool overlaps_kernels(int from) {
  // Asked at every launch: the answer is kept for each GPU; 0 stands for not known yet.
  static std::array<std::atomic<int>, 64> known{};
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  auto& architecture = known.at(static_cast<std::size_t>(device));
  int value = architecture.load(std::memory_order_relaxed);
  if (value == 0) {
    int major = 0, minor = 0;
    check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
               "cudaDeviceGetAttribute");
    check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
               "cudaDeviceGetAttribute");
    value = 100 * major + 10 * minor;
    architecture.store(value, std::memory_order_relaxed);
  }
  return value >= from;
}

}  // namespace quern
