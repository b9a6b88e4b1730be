#include <algorithm>
#include <chrono>

#include "check/candidate.hpp"
#include "check/checker.hpp"

namespace quern::check {
namespace {

using Clock = std::chrono::steady_clock;

/// Long enough that the clock and the wait at the end do not count.
constexpr double kSampleSeconds = 2e-3;
constexpr int kMostRuns = 10000;

}  // namespace

CheckTiming time_case(CaseData& data, const Implementation& implementation, Device& device, int repeats) {
  const OpDesc desc = at_precision(data.the_case().desc, data.precision());
  const Operands inputs = stored_as(desc, data.solution(Tier::random).inputs);
  const SlotNames names = slot_names(desc);
  const auto executable = implementation.prepare(desc, device);
  std::vector<ExactBuffer> buffers;
  std::vector<void*> in, out;
  for (const HostTensor& tensor : inputs) {
    buffers.emplace_back(device, tensor.bytes.size()).write(tensor.bytes);
    in.push_back(buffers.back().data());
  }
  for (std::size_t i = 0; i < desc.outputs.size(); ++i) {
    const int shared = names.outputs[i].in_place;
    if (shared < 0) buffers.emplace_back(device, desc.outputs[i].bytes());
    out.push_back(shared >= 0 ? in[static_cast<std::size_t>(shared)] : buffers.back().data());
  }
  const ExactBuffer workspace(device, executable->workspace_bytes());
  const RunArgs args{in, out, executable->workspace_bytes() > 0 ? workspace.data() : nullptr,
                     device.stream()};
  const auto seconds_of = [&](int runs) {
    const auto start = Clock::now();
    for (int i = 0; i < runs; ++i) executable->run(args);
    device.synchronize(device.stream());
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  seconds_of(1);
  // The first run may still warm caches; the second says how many make a sample.
  const double once = std::max(seconds_of(1), 1e-7);
  const int runs = static_cast<int>(std::clamp(kSampleSeconds / once, 1.0, static_cast<double>(kMostRuns)));
  std::vector<double> samples;
  for (int i = 0; i < std::max(repeats, 1); ++i) samples.push_back(seconds_of(runs) / runs);
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::nth_element(samples.begin(), middle, samples.end());
  const OpCost floor = cost(desc);
  return {*middle, floor.flops / *middle / 1e9, floor.bytes / *middle / 1e9,
          static_cast<int>(samples.size())};
}

}  // namespace quern::check
