#include "tests/graph_fuzz/graph_run.hpp"

#include <cmath>
#include <limits>

#include "quern/error.hpp"
#include "quern/philox.hpp"
#include "simt/simt.hpp"

namespace quern::test {
namespace {

std::uint32_t draw(std::uint64_t seed, std::uint32_t stream, std::uint64_t element) {
  return philox_u32(seed, RandomPurpose::test, stream, 0, element);
}

/// Initial weights, with biases, gammas and statistics that are not the neutral element they start as.
std::vector<float> random_weights(const WeightLayout& layout, std::uint64_t seed) {
  std::vector<float> weights(static_cast<std::size_t>(layout.total_elements));
  initialize_weights(layout, seed, weights);
  for (const WeightTensor& tensor : layout.tensors) {
    if (tensor.initializer.kind == Initializer::Kind::glorot_uniform) continue;
    for (std::int64_t i = 0; i < tensor.shape.elements(); ++i)
      weights[static_cast<std::size_t>(tensor.offset + i)] +=
          uniform_from_u32(draw(seed, 16 + tensor.stream, static_cast<std::uint64_t>(i))) - 0.5f;
  }
  return weights;
}

}  // namespace

GraphRun::GraphRun(const RandomModel& model, const Way& way, const Registry& registry, Device& device)
    : model_(model), way_(way), registry_(registry), device_(device), layout_(weight_layout(model.spec)) {
  const ModelSpec& spec = model.spec;
  std::vector<std::uint8_t> images(
      static_cast<std::size_t>(kImages * spec.height * spec.width * spec.channels));
  for (std::size_t i = 0; i < images.size(); ++i) {
    const std::uint32_t number = draw(model.seed, 1, i);
    images[i] = number % 4 == 0 ? 0 : static_cast<std::uint8_t>(number >> 8);  // a quarter of them black
  }
  std::vector<std::uint8_t> labels(kImages);
  std::vector<std::uint32_t> order(kImages);
  const auto classes = static_cast<std::uint32_t>(output_classes(spec));
  for (std::uint32_t i = 0; i < kImages; ++i) {
    labels[i] = static_cast<std::uint8_t>(draw(model.seed, 2, i) % classes);
    order[i] = (i * 7 + 3) % kImages;
  }
  const std::vector<float> weights = random_weights(layout_, model.seed);
  const std::vector<float> zeros(weights.size(), 0.0f);
  const auto trained = static_cast<std::size_t>(layout_.trained_elements);
  poisoned_gradients_.assign(trained, 0.0f);  // gaps between the tensors stay zero, as the contract has it
  for (const WeightTensor& tensor : layout_.tensors)
    if (tensor.trained)
      std::fill_n(poisoned_gradients_.begin() + tensor.offset, tensor.shape.elements(),
                  std::numeric_limits<float>::quiet_NaN());

  weights_ = upload(weights.data(), weights.size() * sizeof(float));
  ema_ = upload(weights.data(), weights.size() * sizeof(float));
  gradients_ = upload(zeros.data(), trained * sizeof(float));
  slot1_ = upload(zeros.data(), trained * sizeof(float));
  slot2_ = upload(zeros.data(), trained * sizeof(float));
  images_ = upload(images.data(), images.size());
  labels_ = upload(labels.data(), labels.size());
  order_ = upload(order.data(), order.size() * sizeof(std::uint32_t));
  const Metrics metrics;
  metrics_ = upload(&metrics, sizeof metrics);
  const StepScalars scalars;
  step_ = upload(&scalars, sizeof scalars);
  steps_ = upload(&scalars, sizeof scalars);
  training_ = std::make_unique<Executor>(make_executor(true));
  bind(*training_, scratch_);
}

Executor GraphRun::make_executor(bool training) const {
  GraphOptions options;
  options.training = training;
  options.batch = model_.spec.recipe.batch_size;
  options.dataset_images = options.order_length = kImages;
  options.steps = 1;
  options.fuse = way_.fuse;
  options.in_place = way_.in_place;
  PlanOptions plan;
  if (!way_.impl.empty()) plan.forced = {parse_impl_choice(way_.impl)};
  plan.reuse_memory = way_.reuse;
  plan.chains = way_.chains;
  Graph graph = build_graph(model_.spec, options);
  if (training && way_.sabotage) way_.sabotage(graph);
  return {make_plan(std::move(graph), registry_, device_.info(), plan), device_};
}

void GraphRun::bind(Executor& executor, Buffer& scratch) {
  scratch = Buffer(device_, executor.scratch_bytes());
  // The race detector knows what was never written, and would be told otherwise by a fill.
  if (!simt::race_detection()) device_.fill(scratch.data(), 0xFF, scratch.size(), device_.stream());
  executor.bind({{names::kWeights, weights_.data()},
                 {names::kGradients, gradients_.data()},
                 {names::kSlot1, slot1_.data()},
                 {names::kSlot2, slot2_.data()},
                 {names::kEma, ema_.data()},
                 {names::kMetrics, metrics_.data()},
                 {names::kImages, images_.data()},
                 {names::kLabels, labels_.data()},
                 {names::kOrder, order_.data()},
                 {names::kStep, step_.data()},
                 {names::kSteps, steps_.data()}},
                scratch.data());
}

Buffer GraphRun::upload(const void* data, std::size_t bytes) {
  Buffer buffer(device_, bytes);
  device_.copy_to_device(buffer.data(), data, bytes, device_.stream());
  device_.synchronize(device_.stream());
  return buffer;
}

std::vector<float> GraphRun::download(const void* address, std::size_t count) const {
  std::vector<float> values(count);
  device_.copy_to_host(values.data(), address, count * sizeof(float), device_.stream());
  device_.synchronize(device_.stream());
  return values;
}

void GraphRun::keep(Snapshot& snapshot, const std::string& what, const Buffer& flat,
                    bool trained_only) const {
  const std::vector<float> values = download(flat.data(), flat.size() / sizeof(float));
  for (const WeightTensor& tensor : layout_.tensors) {
    if (trained_only && !tensor.trained) continue;
    const auto begin = values.begin() + tensor.offset;
    snapshot.push_back({fmt::format("{} {}", what, tensor.name), {begin, begin + tensor.shape.elements()}});
  }
}

void GraphRun::keep_outputs(Snapshot& snapshot, const Executor& executor) const {
  const Graph& graph = executor.plan().graph;
  for (const char* name : {names::kLogits, names::kLoss}) {
    const ValueId value = graph.find(name);
    snapshot.push_back({name, download(executor.address(value),
                                       static_cast<std::size_t>(graph.value(value).desc.elements()))});
  }
}

Snapshot GraphRun::evaluate() {
  Executor executor = make_executor(false);
  Buffer scratch;
  bind(executor, scratch);
  executor.run();
  device_.synchronize(device_.stream());
  Snapshot snapshot;
  keep_outputs(snapshot, executor);
  const Metrics metrics;
  device_.copy_to_device(metrics_.data(), &metrics, sizeof metrics, device_.stream());
  device_.synchronize(device_.stream());
  return snapshot;
}

Snapshot GraphRun::step(std::uint32_t number, NodeObserver* observer) {
  const Recipe& recipe = model_.spec.recipe;
  const auto t = static_cast<double>(number);
  StepScalars scalars;
  scalars.seed = model_.seed;
  scalars.step = number;
  scalars.order_offset = number * static_cast<std::uint32_t>(recipe.batch_size);
  scalars.learning_rate = recipe.learning_rate;
  scalars.bias_correction1 = static_cast<float>(1 - std::pow(static_cast<double>(recipe.beta1), t + 1));
  scalars.bias_correction2 = static_cast<float>(1 - std::pow(static_cast<double>(recipe.beta2), t + 1));
  scalars.ema_decay = recipe.ema_decay;
  const Stream stream = device_.stream();
  for (const Buffer* buffer : {&step_, &steps_})  // a table of one entry: the step stays
    device_.copy_to_device(buffer->data(), &scalars, sizeof scalars, stream);
  device_.copy_to_device(gradients_.data(), poisoned_gradients_.data(), gradients_.size(), stream);
  device_.synchronize(stream);
  if (observer != nullptr) {
    training_->run(*observer);
  } else {
    training_->run();
  }
  device_.synchronize(stream);

  Snapshot snapshot;
  keep_outputs(snapshot, *training_);
  keep(snapshot, "gradient of", gradients_, true);
  keep(snapshot, "slot 1 of", slot1_, true);
  keep(snapshot, "slot 2 of", slot2_, true);
  keep(snapshot, "new", weights_, false);
  if (recipe.ema_decay > 0) keep(snapshot, "average of", ema_, false);
  Metrics metrics;
  device_.copy_to_host(&metrics, metrics_.data(), sizeof metrics, stream);
  device_.synchronize(stream);
  snapshot.push_back({"sums of loss and samples",
                      {static_cast<float>(metrics.loss_sum), static_cast<float>(metrics.count),
                       static_cast<float>(metrics.nonfinite)}});
  return snapshot;
}

}  // namespace quern::test
