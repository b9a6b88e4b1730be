#include <algorithm>
#include <bit>
#include <cmath>

#include "graph/replay.hpp"
#include "quern/error.hpp"
#include "quern/session.hpp"

namespace quern {

Evaluator::Evaluator(Session& session, const DeviceImages& images, std::span<const std::uint32_t> order,
                     std::int64_t batch)
    : session_(session), count_(static_cast<std::int64_t>(order.size())) {
  if (order.empty()) fail_input("no images to evaluate");
  for (const std::uint32_t index : order)
    QUERN_REQUIRE(index < images.host().count, "image {} of {}", index, images.host().count);
  batch_ = std::clamp<std::int64_t>(batch, 1, count_);
  Device& device = session.device();
  order_ = Buffer(device, order.size_bytes());
  session.upload(order_.data(), order.data(), order.size_bytes());

  std::vector<StepScalars> steps;
  for (std::int64_t begin = 0; begin < count_; begin += batch_) {
    steps.emplace_back();
    steps.back().order_offset = static_cast<std::uint32_t>(begin);
  }
  steps_ = Buffer(device, steps.size() * sizeof(StepScalars));
  session.upload(steps_.data(), steps.data(), steps.size() * sizeof(StepScalars));
  step_ = Buffer(device, sizeof(StepScalars));
  metrics_ = Buffer(device, sizeof(Metrics));

  GraphOptions options;
  options.training = false;
  options.dataset_images = images.host().count;
  options.order_length = count_;
  const Bindings bindings{{names::kWeights, session.evaluation_weights()},
                          {names::kMetrics, metrics_.data()},
                          {names::kImages, images.pixels()},
                          {names::kLabels, images.labels()},
                          {names::kOrder, order_.data()},
                          {names::kStep, step_.data()}};
  options.batch = batch_;
  full_ = SessionExecutor(session, options, bindings);
  if (count_ % batch_ != 0) {
    options.batch = count_ % batch_;
    tail_ = SessionExecutor(session, options, bindings);
  }
  // A pass is recorded whole: graphs that loop would save nothing.
  const bool records = session.options().replay.mode != GraphMode::off;
  replay_ = std::make_unique<Replay>(device);
  replay_->configure({records ? GraphMode::unrolled : GraphMode::off, 1});
}

Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;

Evaluation Evaluator::run(bool keep_logits) {
  Evaluation result;
  result.count = count_;
  result.classes = output_classes(session_.spec());
  if (keep_logits) {
    result.logits.resize(static_cast<std::size_t>(count_ * result.classes));
    pass(result, true);
  } else {
    const std::uint64_t generations = full_->generation() + (tail_ ? tail_->generation() : 0);
    if (generations != recorded_) replay_->forget();
    recorded_ = generations;
    replay_->run(1, [&] { pass(result, false); });
  }
  Metrics metrics;
  session_.download(&metrics, metrics_.data(), sizeof(metrics));
  result.loss = metrics.loss_sum / metrics.count;
  result.correct = std::llround(metrics.correct);
  result.accuracy = metrics.correct / metrics.count;
  return result;
}

/// Gives all batches to the device.
void Evaluator::pass(Evaluation& result, bool keep_logits) {
  Device& device = session_.device();
  const Stream stream = device.stream();
  device.fill(metrics_.data(), 0, metrics_.size(), stream);
  for (std::int64_t begin = 0, i = 0; begin < count_; begin += batch_, ++i) {
    const std::int64_t size = std::min(batch_, count_ - begin);
    Executor& executor = size == batch_ ? *full_ : *tail_;
    device.copy_on_device(step_.data(), steps_.bytes() + static_cast<std::size_t>(i) * sizeof(StepScalars),
                          sizeof(StepScalars), stream);
    executor.run();
    if (keep_logits)
      fetch_logits(executor, std::span(result.logits)
                                 .subspan(static_cast<std::size_t>(begin * result.classes),
                                          static_cast<std::size_t>(size * result.classes)));
  }
}

/// fp32 logits arrive with the stream; what ends in a layer that keeps bf16 is waited for and widened.
void Evaluator::fetch_logits(const Executor& executor, std::span<float> logits) {
  const Graph& graph = executor.plan().graph;
  const ValueId value = graph.find(names::kLogits);
  if (graph.value(value).desc.dtype == DType::f32) {
    Device& device = session_.device();
    device.copy_to_host(logits.data(), executor.address(value), logits.size_bytes(), device.stream());
    return;
  }
  std::vector<std::uint16_t> halves(logits.size());
  session_.download(halves.data(), executor.address(value), halves.size() * sizeof(halves[0]));
  for (std::size_t i = 0; i < logits.size(); ++i)
    logits[i] = std::bit_cast<float>(static_cast<std::uint32_t>(halves[i]) << 16);
}

std::vector<float> softmax(std::span<const float> logits, std::int64_t classes) {
  std::vector<float> probabilities(logits.size());
  const auto width = static_cast<std::size_t>(classes);
  for (std::size_t row = 0; row + width <= logits.size(); row += width) {
    const auto in = logits.subspan(row, width);
    const double largest = *std::max_element(in.begin(), in.end());
    double sum = 0;
    for (const float logit : in) sum += std::exp(static_cast<double>(logit) - largest);
    for (std::size_t i = 0; i < width; ++i)
      probabilities[row + i] = static_cast<float>(std::exp(static_cast<double>(in[i]) - largest) / sum);
  }
  return probabilities;
}

}  // namespace quern
