#include "quern/roofline.hpp"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "bench/cuda_peak.hpp"
#include "bench/fma_peak.hpp"
#include "quern/error.hpp"
#include "quern/timeline.hpp"

namespace quern {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The fastest of several runs: a peak is what is possible, not what is usual. Arithmetic is tried in slices
/// short enough that on a busy machine some of them are left in peace.
constexpr int kTries = 7, kSlices = 60;

/// y = x + s * z over three arrays, the write counted once (McCalpin's STREAM triad).
double cpu_bandwidth(double& footprint) {
  constexpr std::size_t kElements = std::size_t{16} << 20;  // three arrays of 64 MiB
  std::vector<float> x(kElements, 1.0f), y(kElements), z(kElements, 2.0f);
  footprint = 3.0 * kElements * sizeof(float);
  float *const px = x.data(), *const py = y.data(), *const pz = z.data();
  double best = 1e30;
  for (int i = 0; i < kTries; ++i) {
    const float factor = static_cast<float>(i);
    const auto start = Clock::now();
#pragma omp parallel for simd schedule(static)
    for (std::size_t j = 0; j < kElements; ++j) py[j] = px[j] + factor * pz[j];
    if (i > 0) best = std::min(best, seconds_since(start));
  }
  return footprint / best;
}

double cpu_flops() {
  constexpr long kRounds = 100'000;
  double best = 1e30;
  volatile float sink = 0;
  const int threads = omp_get_max_threads();
  for (int i = 0; i < kSlices; ++i) {
    const auto start = Clock::now();
    float total = 0;
#pragma omp parallel reduction(+ : total)
    total += bench::fma_loop(kRounds);
    best = std::min(best, seconds_since(start));
    sink = sink + total;
  }
  return static_cast<double>(kRounds) * bench::fma_loop_flops() * threads / best;
}

Roofline measure_cpu() {
  Roofline roofline;
  roofline.bandwidth = cpu_bandwidth(roofline.footprint);
  roofline.fp32_flops = cpu_flops();
  return roofline;
}

#ifdef QUERN_HAVE_CUDA
Roofline measure_cuda(Device& device) {
  constexpr std::size_t kBytes = std::size_t{512} << 20;
  Roofline roofline;
  const auto timeline = make_timeline(device);
  const auto best = [&](const auto& work) {
    double seconds = 1e30;
    for (int i = 0; i < kTries; ++i) seconds = std::min(seconds, timeline->time(work));
    return seconds;
  };
  {
    const Buffer from(device, kBytes), to(device, kBytes);
    roofline.footprint = 2.0 * kBytes;
    roofline.bandwidth = roofline.footprint / best([&] {
                           device.copy_on_device(to.data(), from.data(), kBytes, device.stream());
                         });
  }
  const Buffer sink(device, sizeof(float));
  const auto peak = [&](bench::PeakKind kind) {
    double flops = 0;
    const double seconds = best([&] {
      flops = bench::launch_peak(kind, device.info(), static_cast<float*>(sink.data()), device.stream());
    });
    return flops / seconds;
  };
  roofline.fp32_flops = peak(bench::PeakKind::ffma);
  if (device.info().sm >= 80) {
    roofline.tf32_flops = peak(bench::PeakKind::mma_tf32);
    roofline.bf16_flops = peak(bench::PeakKind::mma_bf16);
  }
  return roofline;
}
#endif

}  // namespace

double Roofline::flops_for(const OpDesc& desc) const noexcept {
  const bool matrices = desc.op.kind == OpKind::conv2d || desc.op.kind == OpKind::dense;
  if (matrices && desc.precision == Precision::tf32 && tf32_flops > 0) return tf32_flops;
  if (matrices && desc.precision == Precision::bf16 && bf16_flops > 0) return bf16_flops;
  return fp32_flops;
}

double Roofline::floor_seconds(const OpDesc& desc) const {
  const OpCost least = cost(desc);
  return std::max(least.bytes / bandwidth, least.flops / flops_for(desc));
}

Roofline measure_roofline(Device& device) {
  switch (device.info().kind) {
    case DeviceKind::cpu:
      return measure_cpu();
    case DeviceKind::emu:
      break;
    case DeviceKind::cuda:
#ifdef QUERN_HAVE_CUDA
      return measure_cuda(device);
#else
      fail_device("this build has no CUDA");
#endif
  }
  fail_input("the emulator makes no claim about speed: measure with --device cpu or --device cuda");
}

}  // namespace quern
