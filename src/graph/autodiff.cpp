#include <map>
#include <set>

#include "quern/error.hpp"
#include "quern/graph.hpp"

namespace quern {
namespace {

/// Reverse-mode differentiation, a rule per node kind. Gradients of a value that several nodes read are
/// summed by `add` nodes in a fixed order, so that the result is the same in every run.
class Backward {
 public:
  explicit Backward(Graph& graph) : graph_(graph), forward_nodes_(graph.nodes.size()) {}

  void run() {
    find_what_needs_gradients();
    for (std::size_t i = forward_nodes_; i-- > 0;) {
      const Node node = graph_.nodes[i];  // a copy: rules append nodes
      if (node.op.kind == OpKind::softmax_xent) {
        QUERN_REQUIRE(node.outputs.size() == 2, "the loss of a training graph must write its gradient");
        contribute(node.inputs[0], node.outputs[1]);
      } else if (node.op.kind != OpKind::metrics && node.op.kind != OpKind::input_batch) {
        // A node whose output nobody differentiates has no part in the loss.
        if (const ValueId dy = gradient_of(node.outputs[0], node.layer); dy != kNoValue)
          differentiate(node, dy);
      }
    }
  }

 private:
  void find_what_needs_gradients() {
    const ValueId weights = graph_.find(names::kWeights);
    for (const Node& node : graph_.nodes)
      for (const ValueId in : node.inputs)
        if (graph_.root(in) == weights || needed_.contains(graph_.root(in)))
          needed_.insert(graph_.root(node.outputs[0]));
    gradients_ = graph_.add_value(
        {names::kGradients, {DType::f32, {trained_elements(weights)}}, Storage::persistent, kNoValue, 0});
  }

  /// The trained part of the weights ends where the first running statistic starts.
  std::int64_t trained_elements(ValueId weights) const {
    std::size_t bytes = graph_.value(weights).desc.bytes();
    for (const Node& node : graph_.nodes)
      for (const ValueId out : node.outputs)
        if (graph_.root(out) == weights) bytes = std::min(bytes, graph_.root_offset(out));
    return static_cast<std::int64_t>(bytes / sizeof(float));
  }

  bool needs_gradient(ValueId value) const { return needed_.contains(graph_.root(value)); }

  ValueId add_like(ValueId value, const std::string& suffix) {
    return graph_.add_value(
        {graph_.value(value).name + suffix, graph_.value(value).desc, Storage::transient, kNoValue, 0});
  }

  /// The gradient of a weight tensor: the same place in `gradients` as the tensor has in `weights`.
  ValueId weight_gradient(ValueId tensor) {
    return graph_.add_value({graph_.value(tensor).name + ".grad", graph_.value(tensor).desc,
                             Storage::persistent, gradients_, graph_.root_offset(tensor)});
  }

  void contribute(ValueId value, ValueId gradient) {
    if (!needs_gradient(value)) return;
    // The gradient of a view is a view of the gradient.
    while (graph_.value(value).alias_of != kNoValue) {
      value = graph_.value(value).alias_of;
      gradient = graph_.add_value({fmt::format("{}.grad.view{}", graph_.value(value).name, views_++),
                                   {graph_.value(gradient).desc.dtype, graph_.value(value).desc.shape},
                                   Storage::transient,
                                   gradient,
                                   0});
    }
    contributions_[value].push_back(gradient);
  }

  ValueId gradient_of(ValueId value, const std::string& layer) {
    const auto found = contributions_.find(value);
    if (found == contributions_.end()) return kNoValue;
    ValueId sum = found->second[0];
    for (std::size_t i = 1; i < found->second.size(); ++i) {
      const ValueId total = add_like(value, fmt::format(".grad.sum{}", i));
      append(layer, fmt::format("sum_gradients{}", i), {OpKind::add, Direction::forward}, AddAttrs{},
             {sum, found->second[i]}, {total});
      sum = total;
    }
    return sum;
  }

  void append(const std::string& layer, const std::string& what, OpKey op, Attrs attrs,
              std::vector<ValueId> inputs, std::vector<ValueId> outputs) {
    graph_.nodes.push_back({fmt::format("{}.{}", layer, what), layer, op, std::move(attrs), std::move(inputs),
                            std::move(outputs), Phase::backward});
  }
  void append(const Node& node, Direction direction, Attrs attrs, std::vector<ValueId> inputs,
              std::vector<ValueId> outputs) {
    append(node.layer, to_string(direction), {node.op.kind, direction}, std::move(attrs), std::move(inputs),
           std::move(outputs));
  }

  /// One gradient for the node's first input, by an operation with a single `backward` direction.
  void simple(const Node& node, Attrs attrs, std::vector<ValueId> inputs) {
    if (!needs_gradient(node.inputs[0])) return;
    const ValueId dx = add_like(node.inputs[0], ".grad." + node.layer);
    append(node, Direction::backward, std::move(attrs), std::move(inputs), {dx});
    contribute(node.inputs[0], dx);
  }

  void differentiate(const Node& node, ValueId dy) {
    switch (node.op.kind) {
      case OpKind::conv2d:
      case OpKind::dense:
        return linear(node, dy);
      case OpKind::batchnorm: {
        const ValueId x = node.inputs[0], gamma = node.inputs[1], beta = node.inputs[2];
        const ValueId dx = add_like(x, ".grad." + node.layer);
        append(node, Direction::backward, node.attrs, {dy, x, gamma, node.outputs[1]},
               {dx, weight_gradient(gamma), weight_gradient(beta)});
        return contribute(x, dx);
      }
      case OpKind::relu:
        return simple(node, NoAttrs{}, {dy, node.outputs[0]});
      case OpKind::maxpool2d:
        return simple(node, without_argmax(node), {dy, node.outputs[1]});
      case OpKind::avgpool2d:
      case OpKind::global_avgpool:
        return simple(node, node.attrs, {dy});
      case OpKind::dropout:
        return simple(node, node.attrs, {dy, node.inputs[1]});
      case OpKind::add:
        contribute(node.inputs[0], dy);
        contribute(node.inputs[1], dy);
        return;
      default:
        QUERN_REQUIRE(false, "node '{}' has no gradient rule", node.name);
    }
  }

  static Attrs without_argmax(const Node& node) {
    Pool2dAttrs attrs = std::get<Pool2dAttrs>(node.attrs);
    attrs.save_argmax = false;
    return attrs;
  }

  void linear(const Node& node, ValueId dy) {
    const ValueId x = node.inputs[0], weight = node.inputs[1];
    if (needs_gradient(x)) {
      Attrs attrs = node.attrs;
      std::visit(
          [](auto& a) {
            if constexpr (requires { a.bias; }) a.bias = false;
          },
          attrs);
      const ValueId dx = add_like(x, ".grad." + node.layer);
      append(node, Direction::backward_data, std::move(attrs), {dy, weight}, {dx});
      contribute(x, dx);
    }
    std::vector<ValueId> outputs{weight_gradient(weight)};
    if (node.inputs.size() > 2) outputs.push_back(weight_gradient(node.inputs[2]));
    append(node, Direction::backward_weights, node.attrs, {dy, x}, std::move(outputs));
  }

  Graph& graph_;
  std::size_t forward_nodes_;
  std::set<ValueId> needed_;
  std::map<ValueId, std::vector<ValueId>> contributions_;
  ValueId gradients_ = kNoValue;
  int views_ = 0;
};

}  // namespace

void add_backward(Graph& graph) {
  Backward(graph).run();
}

}  // namespace quern
