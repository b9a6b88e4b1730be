#pragma once

/// A small stand-in for a training session: binds a graph's persistent and external values to plain buffers
/// filled from a seed, and runs steps.

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "quern/executor.hpp"
#include "quern/philox.hpp"

namespace quern::test {

inline Registry reference_registry() {
  Registry registry;
  add_reference(registry);
  return registry;
}

class Harness {
 public:
  Harness(const ModelSpec& spec, GraphOptions options, const Registry& registry,
          const PlanOptions& plan_options = {}, std::uint64_t seed = 7, int threads = 1)
      : spec_(spec), layout_(weight_layout(spec)), device_(open_device("cpu", threads)) {
    options.dataset_images = kImages;
    options.order_length = kImages;
    const auto pixels = static_cast<std::size_t>(kImages * spec.height * spec.width * spec.channels);
    auto* images = reinterpret_cast<std::uint8_t*>(buffer(names::kImages, pixels));
    for (std::size_t i = 0; i < pixels; ++i)
      images[i] = static_cast<std::uint8_t>(philox_u32(seed, RandomPurpose::test, 1, 0, i));
    auto* labels = reinterpret_cast<std::uint8_t*>(buffer(names::kLabels, kImages));
    const auto classes = static_cast<std::uint32_t>(output_classes(spec));
    for (std::uint32_t i = 0; i < kImages; ++i)
      labels[i] = static_cast<std::uint8_t>(philox_u32(seed, RandomPurpose::test, 2, 0, i) % classes);
    auto* order = reinterpret_cast<std::uint32_t*>(buffer(names::kOrder, kImages * 4));
    for (std::uint32_t i = 0; i < kImages; ++i) order[i] = (i * 5 + 3) % kImages;
    buffer(names::kStep, sizeof(StepScalars));
    buffer(names::kSteps, sizeof(StepScalars));  // one entry: the scalars are set before every run
    const auto trained = static_cast<std::size_t>(layout_.trained_elements) * 4;
    const auto total = static_cast<std::size_t>(layout_.total_elements);
    buffer(names::kWeights, total * 4);
    for (const char* name : {names::kGradients, names::kSlot1, names::kSlot2}) buffer(name, trained);
    buffer(names::kEma, total * 4);
    buffer(names::kMetrics, sizeof(Metrics));
    initialize_weights(layout_, seed, weights());
    executor_ = std::make_unique<Executor>(
        make_plan(build_graph(spec, options), registry, device_->info(), plan_options), *device_);
    Bindings bindings;
    for (auto& [name, bytes] : buffers_) bindings[name] = bytes.data();
    executor_->bind(bindings);
    batch_ = options.batch;
  }

  void run(std::uint32_t step = 0) {
    StepScalars scalars;
    scalars.seed = 11;
    scalars.step = step;
    scalars.order_offset = static_cast<std::uint32_t>((step * batch_) % (kImages - batch_));
    scalars.learning_rate = 0.01f;
    scalars.bias_correction1 = 1.0f - std::pow(0.9f, static_cast<float>(step + 1));
    scalars.bias_correction2 = 1.0f - std::pow(0.999f, static_cast<float>(step + 1));
    scalars.ema_decay = spec_.recipe.ema_decay;
    std::memcpy(buffers_.at(names::kStep).data(), &scalars, sizeof(scalars));
    executor_->run();
  }

  std::span<float> weights() { return floats(names::kWeights); }
  std::span<float> gradients() { return floats(names::kGradients); }
  std::span<float> floats(const char* name) {
    auto& bytes = buffers_.at(name);
    return {reinterpret_cast<float*>(bytes.data()), bytes.size() / 4};
  }
  /// Mean loss of the last step, summed in double.
  double mean_loss() {
    const auto* loss =
        static_cast<const float*>(executor_->address(executor_->plan().graph.find(names::kLoss)));
    double sum = 0;
    for (std::int64_t i = 0; i < batch_; ++i) sum += static_cast<double>(loss[i]);
    return sum / static_cast<double>(batch_);
  }
  Metrics metrics() {
    Metrics metrics;
    std::memcpy(&metrics, buffers_.at(names::kMetrics).data(), sizeof(metrics));
    return metrics;
  }
  const WeightLayout& layout() const { return layout_; }
  const Plan& plan() const { return executor_->plan(); }
  Executor& executor() { return *executor_; }

  static constexpr std::int64_t kImages = 37;

 private:
  std::byte* buffer(const std::string& name, std::size_t bytes) {
    // The allocator's 16-byte alignment is enough for the reference.
    return buffers_.emplace(name, std::vector<std::byte>(bytes)).first->second.data();
  }

  ModelSpec spec_;
  WeightLayout layout_;
  std::unique_ptr<Device> device_;
  std::map<std::string, std::vector<std::byte>> buffers_;
  std::unique_ptr<Executor> executor_;
  std::int64_t batch_ = 0;
};

}  // namespace quern::test
