#include "quern/error.hpp"
#include "quern/graph.hpp"

namespace quern {

void add_update(Graph& graph, const ModelSpec& spec, const WeightLayout& layout) {
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
    graph.nodes.push_back({"ema.forward",
                           "ema",
                           {OpKind::ema, Direction::forward},
                           EmaAttrs{true},
                           {step, weights, average, steps},
                           {average, step},
                           Phase::update});
  }
}

}  // namespace quern
