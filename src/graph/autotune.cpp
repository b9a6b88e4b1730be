#include "quern/autotune.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <memory>
#include <string_view>

#include "ops/slots.hpp"
#include "quern/error.hpp"

namespace quern {

namespace {

using Clock = std::chrono::steady_clock;

/// A sample is long enough that the clock and the wait at its end do not count; samples are taken until the
/// budget is spent, so that the emulator's slow runs are not repeated in vain.
constexpr double kSampleSeconds = 2e-3, kBudgetSeconds = 0.25;
constexpr int kMostRuns = 10000, kMostSamples = 9;
/// Times that differ by less are no reason to leave the table's order.
constexpr double kTie = 0.02;

/// Values that an operation may meet: numbers in [-1, 1), positive where a variance or a deviation is meant.
/// Integers are zero: the first image, the first class, the first element of a window.
std::vector<std::byte> contents(const TensorDesc& desc, const Slot& slot) {
  std::vector<std::byte> bytes(desc.bytes());
  if (slot.type == SlotType::step) {
    StepScalars step;
    step.learning_rate = 1e-3f;
    std::memcpy(bytes.data(), &step, sizeof(step));
    return bytes;
  }
  const std::string_view name = slot.name;
  const bool positive = name == "running_var" || name == "saved" || name == "slot2" || name == "stats";
  const auto value = [&](std::uint32_t i) {
    const float unit = static_cast<float>((i * 2654435761u) >> 8) * 0x1p-24f;
    return positive ? unit + 0.5f : 2 * unit - 1;
  };
  const auto count = static_cast<std::uint32_t>(desc.elements());
  for (std::uint32_t i = 0; i < count; ++i) {
    const float x = value(i);
    if (desc.dtype == DType::f32) {
      std::memcpy(bytes.data() + std::size_t{i} * 4, &x, 4);
    } else if (desc.dtype == DType::bf16) {
      // The upper half of an f32: cut off instead of rounded, which does not matter here.
      std::uint32_t bits = 0;
      std::memcpy(&bits, &x, 4);
      bits >>= 16;
      std::memcpy(bytes.data() + std::size_t{i} * 2, &bits, 2);
    }
  }
  return bytes;
}

/// Operands of one operation in the device's memory; slots that are updated in place share it.
class Operands {
 public:
  Operands(const OpDesc& desc, Device& device) {
    const SlotLists slots = slots_of(desc);
    for (std::size_t i = 0; i < desc.inputs.size(); ++i) {
      const std::vector<std::byte> bytes = contents(desc.inputs[i], slots.inputs[i]);
      buffers_.emplace_back(device, bytes.size());
      in_.push_back(buffers_.back().data());
      device.copy_to_device(in_.back(), bytes.data(), bytes.size(), device.stream());
      device.synchronize(device.stream());
    }
    for (std::size_t i = 0; i < desc.outputs.size(); ++i) {
      const auto same = std::ranges::find(slots.inputs, std::string_view(slots.outputs[i].name),
                                          [](const Slot& slot) { return std::string_view(slot.name); });
      if (same != slots.inputs.end() && updated_in_place(desc.op.kind)) {
        out_.push_back(in_[static_cast<std::size_t>(same - slots.inputs.begin())]);
        continue;
      }
      buffers_.emplace_back(device, desc.outputs[i].bytes());
      out_.push_back(buffers_.back().data());
    }
  }

  RunArgs args(void* workspace, Stream stream) const { return {in_, out_, workspace, stream}; }

 private:
  /// The kinds with slots marked * in op.hpp.
  static bool updated_in_place(OpKind kind) {
    return kind == OpKind::batchnorm || kind == OpKind::softmax_xent || kind == OpKind::metrics ||
           kind == OpKind::guard || kind == OpKind::optimizer || kind == OpKind::ema;
  }
  std::vector<Buffer> buffers_;
  std::vector<void*> in_, out_;
};

/// The least of several samples: what disturbs a measurement only makes it longer.
double seconds_a_run(Executable& executable, const Operands& operands, Device& device) {
  const Buffer workspace(device, executable.workspace_bytes());
  const RunArgs args = operands.args(workspace.data(), device.stream());
  const auto seconds_of = [&](int runs) {
    const auto start = Clock::now();
    for (int i = 0; i < runs; ++i) executable.run(args);
    device.synchronize(device.stream());
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  double spent = seconds_of(1);  // the first run may still compile, load and warm up
  if (spent > kBudgetSeconds) return spent;
  const double once = std::max(seconds_of(1), 1e-7);
  const int runs = static_cast<int>(std::clamp(kSampleSeconds / once, 1.0, static_cast<double>(kMostRuns)));
  double least = std::numeric_limits<double>::max();
  for (int i = 0; i < kMostSamples && (i == 0 || spent < kBudgetSeconds); ++i) {
    const double sample = seconds_of(runs);
    least = std::min(least, sample / runs);
    spent += sample;
  }
  return least;
}

/// Who would serve the node, in the registry's order.
std::vector<const Implementation*> willing(const PlannedNode& node, const Registry& registry,
                                           const DeviceInfo& device) {
  std::vector<const Implementation*> found;
  for (const Implementation& candidate : registry.candidates(node.desc.op))
    if (candidate.device == device.kind && !candidate.refusal(node.desc, device)) found.push_back(&candidate);
  return found;
}

bool covers(const TimingCache::Times& times, const std::vector<const Implementation*>& candidates) {
  return std::ranges::all_of(candidates,
                             [&](const auto* candidate) { return times.contains(candidate->full_name()); });
}

TimingCache::Times measure(PlannedNode& node, const std::vector<const Implementation*>& candidates,
                           Device& device) {
  TimingCache::Times times;
  const Operands operands(node.desc, device);
  for (const Implementation* candidate : candidates) {
    std::unique_ptr<Executable> executable;
    try {
      executable = candidate->prepare(node.desc, device);
    } catch (const Error& error) {
      node.refusals.emplace_back(candidate->full_name(), error.what());
      continue;
    }
    times[candidate->full_name()] = seconds_a_run(*executable, operands, device);
  }
  return times;
}

}  // namespace

std::string timing_key(const DeviceInfo& device) {
  std::string key = device.name;
  if (device.kind != DeviceKind::cuda) key += fmt::format(", {} threads", device.threads);
  if (device.allow_nondeterministic) key += ", nondeterministic";
  return key;
}

bool leaves_to_auto(const Plan& plan, const PlanOptions& options) {
  return std::ranges::any_of(plan.nodes,
                             [&](const PlannedNode& node) { return is_auto(options, node.desc.op); });
}

void choose_by_time(Plan& plan, const Registry& registry, Device& device, const PlanOptions& options,
                    TimingCache& cache) {
  const std::string key = timing_key(device.info());
  for (PlannedNode& node : plan.nodes) {
    if (!is_auto(options, node.desc.op)) continue;
    const auto candidates = willing(node, registry, device.info());
    if (candidates.size() < 2) continue;
    const std::string description = describe(node.desc);
    const TimingCache::Times* times = cache.find(key, description);
    if (times == nullptr || !covers(*times, candidates)) {
      cache.keep(key, description, measure(node, candidates, device));
      times = cache.find(key, description);
    }
    node.times.clear();
    double least = std::numeric_limits<double>::max();
    for (const Implementation* candidate : candidates)
      if (const auto found = times->find(candidate->full_name()); found != times->end()) {
        node.times.emplace_back(found->first, found->second);
        least = std::min(least, found->second);
      }
    for (const Implementation* candidate : candidates) {
      const auto found = times->find(candidate->full_name());
      if (found == times->end() || found->second > least * (1 + kTie)) continue;
      node.implementation = candidate;
      node.launches = candidate->launches ? candidate->launches(node.desc, plan.device) : 1;
      break;
    }
  }
}

}  // namespace quern
