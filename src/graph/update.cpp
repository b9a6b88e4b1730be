#include "quern/error.hpp"
#include "quern/graph.hpp"

namespace quern {
namespace {

/// Adds the node that judges the step; gives the verdict.
ValueId add_guard(Graph& graph, const WeightLayout& layout) {
  const TensorDesc doubles{DType::f64, {4}};
  const ValueId metrics = graph.find(names::kMetrics);
  const ValueId kept = graph.add_value({names::kKeptMetrics, doubles, Storage::persistent, kNoValue, 0});
  const ValueId guard = graph.add_value({names::kGuard, doubles, Storage::persistent, kNoValue, 0});
  std::vector<ValueId> state{metrics, kept, guard};
  const std::int64_t statistics = layout.total_elements - layout.trained_elements;
  if (statistics > 0) {
    const TensorDesc desc{DType::f32, {statistics}};
    state.push_back(
        graph.add_value({"weights.running", desc, Storage::persistent, graph.find(names::kWeights),
                         static_cast<std::size_t>(layout.trained_elements) * sizeof(float)}));
    state.push_back(graph.add_value({names::kKeptRunning, desc, Storage::persistent, kNoValue, 0}));
  }
  std::vector<ValueId> inputs{graph.find(names::kLoss), graph.find(names::kGradients)};
  inputs.insert(inputs.end(), state.begin(), state.end());
  graph.nodes.push_back({"guard.forward",
                         "guard",
                         {OpKind::guard, Direction::forward},
                         GuardAttrs{statistics > 0},
                         std::move(inputs),
                         std::move(state),
                         Phase::update});
  return guard;
}

}  // namespace

void add_update(Graph& graph, const ModelSpec& spec, const WeightLayout& layout, bool skip_nonfinite) {
  const Recipe& recipe = spec.recipe;
  OptimizerAttrs attrs;
  attrs.kind = recipe.optimizer;
  attrs.momentum = recipe.momentum;
  attrs.beta1 = recipe.beta1;
  attrs.beta2 = recipe.beta2;
  attrs.epsilon = recipe.epsilon;
  attrs.weight_decay = recipe.weight_decay;
  attrs.clip_norm = recipe.clip_norm;
  for (const WeightTensor& tensor : layout.tensors)
    if (tensor.trained) attrs.segments.push_back({tensor.offset, tensor.shape.elements(), tensor.decay});
  if (attrs.segments.empty())
    fail_input("model '{}' has no parameters to train: add a conv2d or dense layer", spec.name);

  const ValueId guard = skip_nonfinite ? add_guard(graph, layout) : kNoValue;
  const ValueId weights = graph.find(names::kWeights);
  const ValueId step = graph.find(names::kStep), steps = graph.find(names::kSteps);
  const Shape trained{layout.trained_elements};
  const ValueId params =
      graph.add_value({"weights.trained", {DType::f32, trained}, Storage::persistent, weights, 0});
  std::vector<ValueId> inputs{step, graph.find(names::kGradients), params};
  std::vector<ValueId> outputs{params};
  for (int slot = 0; slot < attrs.slots(); ++slot) {
    const char* name = slot == 0 ? names::kSlot1 : names::kSlot2;
    const ValueId state = graph.add_value({name, {DType::f32, trained}, Storage::persistent, kNoValue, 0});
    inputs.push_back(state);
    outputs.push_back(state);
  }
  attrs.guarded = skip_nonfinite;
  if (skip_nonfinite) inputs.push_back(guard);
  // Whoever reads the step's scalars last moves them on.
  const bool averages = recipe.ema_decay > 0;
  attrs.advance = !averages;
  if (!averages) {
    inputs.push_back(steps);
    outputs.push_back(step);
  }
  graph.nodes.push_back({"optimizer.forward",
                         "optimizer",
                         {OpKind::optimizer, Direction::forward},
                         std::move(attrs),
                         std::move(inputs),
                         std::move(outputs),
                         Phase::update});
  if (averages) {
    const ValueId average = graph.add_value(
        {names::kEma, {DType::f32, {layout.total_elements}}, Storage::persistent, kNoValue, 0});
    std::vector<ValueId> operands{step, weights, average};
    if (skip_nonfinite) operands.push_back(guard);
    operands.push_back(steps);
    graph.nodes.push_back({"ema.forward",
                           "ema",
                           {OpKind::ema, Direction::forward},
                           EmaAttrs{true, skip_nonfinite},
                           std::move(operands),
                           {average, step},
                           Phase::update});
  }
}

}  // namespace quern
