#include "tests/graph_fuzz/differ.hpp"

#include <cmath>
#include <functional>
#include <limits>

#include "quern/error.hpp"
#include "simt/simt.hpp"
#include "tests/graph_fuzz/node_check.hpp"

// What may differ. Every node may be off by its limit in the conformance table, and what follows from that
// depends on the graph: a batch norm may divide by next to nothing, a ReLU's mask may flip. So results that
// are not plainly equal are measured against how far the yardstick's own results move when every one of its
// nodes is disturbed within a quarter of its limit: four times the largest move of some disturbed runs is
// allowed, tensor by tensor. A way that differs from another only in where values lie must give the same
// bits.
namespace quern::test {
namespace {

constexpr std::uint32_t kSteps = 2;
constexpr int kDisturbedRuns = 5;
constexpr double kMargin = 4;
constexpr double kPlainlyEqual = 3e-6;  // of the tensor's largest element, and of 1

using History = std::vector<Snapshot>;  // the evaluation, then the steps

History run(const RandomModel& model, const Way& way, const Registry& registry, Device& device,
            NodeObserver* first_step = nullptr, NodeObserver* all_steps = nullptr) {
  GraphRun graph_run(model, way, registry, device);
  History history;
  history.push_back(graph_run.evaluate());
  for (std::uint32_t step = 0; step < kSteps; ++step)
    history.push_back(graph_run.step(step, step == 0 && first_step != nullptr ? first_step : all_steps));
  return history;
}

double largest(const std::vector<float>& values) {
  double result = 0;
  for (const float value : values) result = std::max(result, std::abs(static_cast<double>(value)));
  return result;
}

/// The largest difference; infinite where one is NaN, unless both are.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double result = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    result = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(result, difference);
  }
  return result;
}

/// How far the yardstick's tensors move under disturbance: by snapshot and tensor.
using Moves = std::vector<std::vector<double>>;

std::string place(std::size_t snapshot, const NamedTensor& tensor) {
  return snapshot == 0 ? fmt::format("evaluation, {}", tensor.name)
                       : fmt::format("step {}, {}", snapshot - 1, tensor.name);
}

/// The first tensor that differs in any bit.
std::optional<std::string> first_other_bit(const History& expected, const History& got) {
  for (std::size_t s = 0; s < expected.size(); ++s)
    for (std::size_t t = 0; t < expected[s].size(); ++t) {
      const auto &a = expected[s][t].values, &b = got[s][t].values;
      if (std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) != 0)
        return fmt::format("{}: differs by up to {:.3g} where not a bit may", place(s, expected[s][t]),
                           distance(a, b));
    }
  return {};
}

std::optional<std::string> first_difference(const History& expected, const History& got,
                                            const std::function<const Moves&()>& moves) {
  for (std::size_t s = 0; s < expected.size(); ++s)
    for (std::size_t t = 0; t < expected[s].size(); ++t) {
      const NamedTensor& tensor = expected[s][t];
      if (tensor.name != got[s][t].name || tensor.values.size() != got[s][t].values.size())
        return fmt::format("{} became {}", place(s, tensor), place(s, got[s][t]));
      const double off = distance(tensor.values, got[s][t].values);
      const double plain = kPlainlyEqual * std::max(1.0, largest(tensor.values));
      if (off <= plain) continue;
      const double allowed = plain + kMargin * moves()[s][t];
      if (off <= allowed) continue;
      return fmt::format("{}: off by {:.3g} where {:.3g} is allowed (largest element {:.3g})",
                         place(s, tensor), off, allowed, largest(tensor.values));
    }
  return {};
}

std::optional<std::string> first_nonfinite(const History& history) {
  for (std::size_t s = 0; s < history.size(); ++s)
    for (const NamedTensor& tensor : history[s])
      for (const float value : tensor.values)
        if (!std::isfinite(value)) return fmt::format("{}: {}", place(s, tensor), value);
  return {};
}

}  // namespace

Differ::Differ(Sabotage sabotage)
    : sabotage_(std::move(sabotage)),
      registry_(Registry::with_all_providers()),
      threads_(open_device("cpu", 2)),
      emulator_(open_device("emu", 1)),
      cpu_(open_device("cpu", 1)) {
  if (sabotage_.providers) sabotage_.providers(registry_);
}

std::vector<std::string> Differ::compare(const RandomModel& model) {
  std::vector<std::string> faults;
  ++counts_.graphs;
  const auto attempt = [&](const Way& way, const auto& action) {
    try {
      ++counts_.runs;
      if (std::optional<std::string> fault = action()) faults.push_back(way.name + ": " + *fault);
    } catch (const std::exception& error) {
      faults.push_back(way.name + ": " + error.what());
    }
  };

  const Way plain{"reference, nothing fused or shared", "reference"};
  History expected;
  attempt(plain, [&] {
    expected = run(model, plain, registry_, *cpu_);
    return first_nonfinite(expected);
  });
  if (!faults.empty()) return faults;

  Moves moved;
  const auto moves = [&]() -> const Moves& {
    if (!moved.empty()) return moved;
    ++counts_.disturbed;
    for (const Snapshot& snapshot : expected) moved.emplace_back(snapshot.size(), 0.0);
    for (std::uint64_t i = 0; i < kDisturbedRuns; ++i) {
      Disturbance disturbance(model.seed * kDisturbedRuns + i, *cpu_);
      const History other = run(model, plain, registry_, *cpu_, nullptr, &disturbance);
      for (std::size_t s = 0; s < expected.size(); ++s)
        for (std::size_t t = 0; t < expected[s].size(); ++t)
          moved[s][t] = std::max(moved[s][t], distance(expected[s][t].values, other[s][t].values));
    }
    // The evaluation ran undisturbed: its inputs and nodes are the first step's, with other statistics.
    return moved;
  };

  const Way shared{
      "reference, memory shared and in place", "reference", false, true, true, {}, sabotage_.shared};
  attempt(shared, [&] { return first_other_bit(expected, run(model, shared, registry_, *cpu_)); });
  const Way fused{"reference, fused", "reference", true, false, false, {}, sabotage_.fused};
  History fused_history;
  attempt(fused, [&] {
    fused_history = run(model, fused, registry_, *cpu_);
    return first_difference(expected, fused_history, moves);
  });
  const Way fused_shared{
      "reference, fused, memory shared and in place", "reference", true, true, true, {}, sabotage_.fused};
  attempt(fused_shared,
          [&] { return first_other_bit(fused_history, run(model, fused_shared, registry_, *cpu_)); });

  const check::Oracle oracle(registry_, *cpu_);
  Device& cpu = model.seed % 2 == 0 ? *threads_ : *cpu_;
  History emulated;
  for (Device* device : {&cpu, emulator_.get()})
    for (const bool fuse : {false, true}) {
      const Way way{
          fmt::format("{}, {}", device == &cpu ? "onednn" : "custom on emu", fuse ? "fused" : "not fused"),
          "", fuse, true, true};
      attempt(way, [&]() -> std::optional<std::string> {
        GraphOptions options;
        options.batch = model.spec.recipe.batch_size;
        options.fuse = fuse;
        const Graph names = build_graph(model.spec, options);
        GraphCheck check(names, oracle, *device);
        History got = run(model, way, registry_, *device, &check);
        counts_.nodes += check.nodes();
        if (check.fault()) return check.fault();
        std::optional<std::string> difference = first_difference(expected, got, moves);
        emulated = std::move(got);  // the last one stays
        return difference;
      });
    }

  History chained;
  const auto images = static_cast<std::int64_t>(1 + model.seed % 3);
  const Way in_chains{
      fmt::format("onednn, in chains of {} images", images), "", true, true, true, {true, images}};
  attempt(in_chains, [&]() -> std::optional<std::string> {
    chained = run(model, in_chains, registry_, cpu);
    return first_difference(expected, chained, moves);
  });
  const Way apart{"onednn, every node as a whole", "", true, true, true, {false}};
  if (faults.empty())
    attempt(apart, [&] { return first_other_bit(chained, run(model, apart, registry_, cpu)); });

  if (model.seed % 8 != 0 || !simt::race_detection_available()) return faults;
  ++counts_.raced;
  const Way raced{"custom on emu, fused, under the race detector in another order", "", true, true, true};
  attempt(raced, [&] {
    simt::Config config = simt::config();
    config.races = true;
    config.block_order = config.thread_order = simt::Order::random;
    config.seed = model.seed;
    const simt::ScopedConfig scope(config);
    return first_other_bit(emulated, run(model, raced, registry_, *emulator_));
  });
  return faults;
}

}  // namespace quern::test
