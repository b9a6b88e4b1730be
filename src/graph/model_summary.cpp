#include <map>

#include "graph/shapes.hpp"
#include "quern/graph.hpp"
#include "quern/model_spec.hpp"

namespace quern {

std::vector<LayerSummary> summarize(const ModelSpec& spec) {
  const auto shapes = infer_shapes(spec);
  std::map<std::string, double> flops;
  GraphOptions options;
  options.training = false;
  options.batch = 1;
  const Graph graph = build_forward(spec, options);
  for (const Node& node : graph.nodes) flops[node.layer] += cost(graph.desc(node)).flops;

  std::vector<LayerSummary> rows;
  for (const LayerSpec& layer : spec.layers)
    rows.push_back({layer.name, to_string(layer.kind), shapes.at(layer.name), 0, 0, flops[layer.name]});
  for (const WeightTensor& tensor : weight_layout(spec).tensors) {
    const std::string layer = tensor.name.substr(0, tensor.name.rfind('.'));
    for (LayerSummary& row : rows)
      if (row.name == layer) (tensor.trained ? row.parameters : row.state) += tensor.shape.elements();
  }
  return rows;
}

std::int64_t output_classes(const ModelSpec& spec) {
  return infer_shapes(spec).at(spec.layers.back().name)[1];
}

}  // namespace quern
