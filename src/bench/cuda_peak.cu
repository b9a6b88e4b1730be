#define QUERN_TARGET cuda
#include "bench/cuda_peak.hpp"

#include <cuda_runtime.h>

#include "device/cuda_error.hpp"
#include "kernels/intrinsics/mma.cuh"

namespace quern::bench {
namespace {

namespace target = quern::kernels::cuda;

constexpr int kThreads = 256, kBlocksPerMultiprocessor = 4, kRounds = 4096;
/// Independent sums a thread (ffma) or warp (mma): enough to cover the latency of either.
constexpr int kChains = 8;

/// Writes only what no run produces, so that the compiler keeps the sums.
__device__ void keep(float value, float* sink) {
  if (value == -1.0f) *sink = value;
}

__global__ void ffma_peak(float* sink, float factor, float step) {
  float sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = static_cast<float>(threadIdx.x + i) * step;
  for (int round = 0; round < kRounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) sums[i] = fmaf(sums[i], factor, step);
  }
  float total = 0;
  for (int i = 0; i < kChains; ++i) total += sums[i];
  keep(total, sink);
}

template <bool bf16>
__global__ void mma_peak(float* sink, std::uint32_t bits) {
  float sums[kChains][4] = {};
  const std::uint32_t a[4] = {bits, bits, bits, bits}, b[2] = {bits, bits};
  for (int round = 0; round < kRounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) {
      if constexpr (bf16)
        target::mma_m16n8k16_bf16(sums[i], a, b, sums[i]);
      else
        target::mma_m16n8k8_tf32(sums[i], a, b, sums[i]);
    }
  }
  float total = 0;
  for (int i = 0; i < kChains; ++i) total += sums[i][0];
  keep(total, sink);
}

__global__ void delay(std::uint64_t nanoseconds) {
  std::uint64_t start = 0, now = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
  do {
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  } while (now - start < nanoseconds);
}

}  // namespace

void launch_delay(double microseconds, Stream stream) {
  delay<<<1, 1, 0, static_cast<cudaStream_t>(stream.handle)>>>(
      static_cast<std::uint64_t>(microseconds * 1e3));
  check_cuda(cudaGetLastError(), "launching a delay");
}

double launch_peak(PeakKind kind, const DeviceInfo& device, float* sink, Stream stream) {
  const int blocks = device.multiprocessors * kBlocksPerMultiprocessor;
  const auto native = static_cast<cudaStream_t>(stream.handle);
  const double threads = static_cast<double>(blocks) * kThreads,
               sums = static_cast<double>(kRounds) * kChains;
  double flops = 0;
  switch (kind) {
    case PeakKind::ffma:
      ffma_peak<<<blocks, kThreads, 0, native>>>(sink, 0.5f, 1e-3f);
      flops = threads * sums * 2;
      break;
    case PeakKind::mma_tf32:
      mma_peak<false><<<blocks, kThreads, 0, native>>>(sink, 0);
      flops = threads / 32 * sums * (2.0 * 16 * 8 * 8);
      break;
    case PeakKind::mma_bf16:
      mma_peak<true><<<blocks, kThreads, 0, native>>>(sink, 0);
      flops = threads / 32 * sums * (2.0 * 16 * 8 * 16);
      break;
  }
  check_cuda(cudaGetLastError(), "launching a peak kernel");
  return flops;
}

}  // namespace quern::bench
