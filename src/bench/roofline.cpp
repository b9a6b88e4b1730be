#include "quern/roofline.hpp"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/cpu_peak.hpp"
#include "bench/cuda_peak.hpp"
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

/// Bytes a second of y = x + s * z over three arrays of `footprint` bytes together, the write counted once
/// (McCalpin's STREAM triad). Each thread goes over its own part again and again, as the nodes of a step do.
double cpu_bandwidth(std::size_t footprint) {
  constexpr std::size_t kLeast = std::size_t{64} << 20;  // bytes a try: long beside the start of the threads
  const std::size_t elements = footprint / (3 * sizeof(float));
  const int rounds = static_cast<int>(std::max<std::size_t>(1, kLeast / footprint));
  std::vector<float> x(elements, 1.0f), y(elements), z(elements, 2.0f);
  const auto threads = static_cast<std::size_t>(omp_get_max_threads());
  double best = 1e30;
  for (int i = 0; i < kTries; ++i) {
    const float factor = static_cast<float>(i);
    const auto start = Clock::now();
#pragma omp parallel
    {
      const auto thread = static_cast<std::size_t>(omp_get_thread_num());
      const std::size_t begin = elements * thread / threads, end = elements * (thread + 1) / threads;
      for (int round = 0; round < rounds; ++round)
        bench::triad_loop(x.data() + begin, z.data() + begin, factor, y.data() + begin, end - begin);
    }
    if (i > 0) best = std::min(best, seconds_since(start));
  }
  return static_cast<double>(elements) * 3 * sizeof(float) * rounds / best;
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
  constexpr std::size_t kMemory = std::size_t{192} << 20;
  constexpr std::size_t kCaches[] = {std::size_t{1} << 20, std::size_t{4} << 20, std::size_t{16} << 20};
  Roofline roofline;
  roofline.footprint = static_cast<double>(kMemory);
  roofline.bandwidth = cpu_bandwidth(kMemory);
  for (const std::size_t footprint : kCaches)
    roofline.caches.push_back({static_cast<double>(footprint), cpu_bandwidth(footprint)});
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

double Roofline::bandwidth_for(double bytes, Operands operands) const noexcept {
  if (operands == Operands::in_memory) return bandwidth;
  double result = bandwidth;
  for (const Cached& cached : caches)
    if (bytes <= cached.footprint) result = std::max(result, cached.bandwidth);
  return result;
}

double Roofline::floor_seconds(const OpDesc& desc, Operands operands) const {
  const OpCost least = cost(desc);
  return std::max(least.bytes / bandwidth_for(least.bytes, operands), least.flops / flops_for(desc));
}

nlohmann::json to_json(const Roofline& roofline) {
  nlohmann::json caches = nlohmann::json::array();
  for (const Roofline::Cached& cached : roofline.caches)
    caches.push_back({{"footprint", cached.footprint}, {"bandwidth", cached.bandwidth}});
  return {{"bandwidth", roofline.bandwidth},   {"footprint", roofline.footprint},
          {"caches", std::move(caches)},       {"fp32_flops", roofline.fp32_flops},
          {"tf32_flops", roofline.tf32_flops}, {"bf16_flops", roofline.bf16_flops}};
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
