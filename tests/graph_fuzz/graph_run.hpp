#pragma once

/// A random model run on one device by one provider: what it binds, how it steps, and what it leaves.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "quern/executor.hpp"
#include "tests/graph_fuzz/random_model.hpp"

namespace quern::test {

/// One way to build and run a model. The first way is the yardstick: the reference, nothing fused or shared.
struct Way {
  std::string name;
  std::string impl;  ///< a provider, or empty for the device's own order
  bool fuse = false, in_place = false, reuse = false;
  ChainOptions chains = {};
  std::function<void(Graph&)> sabotage = {};  ///< spoils the training graph, to see whether that is noticed
};

/// A tensor as it stands after a step, in fp32.
struct NamedTensor {
  std::string name;  ///< "gradient of conv1.weight"
  std::vector<float> values;
};
using Snapshot = std::vector<NamedTensor>;

class GraphRun {
 public:
  static constexpr std::int64_t kImages = 40;

  /// Everything that is written must be written before it is read: the arena starts as NaN.
  GraphRun(const RandomModel& model, const Way& way, const Registry& registry, Device& device);

  /// Loss and logits of an evaluation graph with the weights as they stand.
  Snapshot evaluate();
  /// A step of training; the gradients start as NaN. What it computed and what it updated.
  Snapshot step(std::uint32_t number, NodeObserver* observer = nullptr);

 private:
  Executor make_executor(bool training) const;
  void bind(Executor& executor, Buffer& scratch);
  Buffer upload(const void* data, std::size_t bytes);
  std::vector<float> download(const void* address, std::size_t count) const;
  void keep(Snapshot& snapshot, const std::string& what, const Buffer& flat, bool trained_only) const;
  void keep_outputs(Snapshot& snapshot, const Executor& executor) const;

  const RandomModel& model_;
  const Way& way_;
  const Registry& registry_;
  Device& device_;
  WeightLayout layout_;
  Buffer weights_, gradients_, slot1_, slot2_, ema_, metrics_, images_, labels_, order_, step_, steps_;
  Buffer scratch_;
  std::vector<float> poisoned_gradients_;
  std::unique_ptr<Executor> training_;
};

}  // namespace quern::test
