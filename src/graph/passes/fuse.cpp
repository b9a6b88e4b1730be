#include <algorithm>
#include <set>

#include "quern/error.hpp"
#include "quern/graph.hpp"

// The fusion pass. Each rule below merges one pattern; a merged node is emptied and swept out at the end.
// Rules run in the order that lets one prepare the next:
//
//   forward   conv2d|dense|add -> relu                 => attribute relu
//             batchnorm -> relu (and their backwards)  => attribute relu on both
//             conv2d|dense -> batchnorm                => statistics written by the producer's epilogue
//             batchnorm -> maxpool2d (and backwards)   => attribute pool on both
//   backward  X.backward -> relu.backward              => attribute mask on X, where X's forward input is the
//   ReLU
namespace quern {
namespace {

class Fuser {
 public:
  explicit Fuser(Graph& graph) : graph_(graph), dead_(graph.nodes.size(), false) {}

  int run() {
    for_each({OpKind::relu, Direction::forward}, &Fuser::relu_into_producer);
    for_each({OpKind::batchnorm, Direction::forward}, &Fuser::statistics_into_producer);
    for_each({OpKind::maxpool2d, Direction::forward}, &Fuser::pool_into_batchnorm);
    for_each({OpKind::relu, Direction::backward}, &Fuser::mask_into_producer);
    std::vector<Node> kept;
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (!dead_[i]) kept.push_back(std::move(graph_.nodes[i]));
    const auto removed = static_cast<int>(graph_.nodes.size() - kept.size());
    graph_.nodes = std::move(kept);
    return removed;
  }

 private:
  void for_each(OpKey op, void (Fuser::*rule)(std::size_t)) {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (!dead_[i] && graph_.nodes[i].op == op) (this->*rule)(i);
  }

  Node* node_at(std::size_t index) { return &graph_.nodes[index]; }

  /// The node that writes exactly this value, or null for views and values from outside.
  Node* producer(ValueId value) {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (!dead_[i] && std::ranges::count(graph_.nodes[i].outputs, value) > 0) return node_at(i);
    return nullptr;
  }

  /// Every slot that reads this value's bytes, through views too.
  std::vector<std::pair<Node*, std::size_t>> readers(ValueId value) {
    std::vector<std::pair<Node*, std::size_t>> found;
    const ValueId root = graph_.root(value);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (!dead_[i])
        for (std::size_t slot = 0; slot < graph_.nodes[i].inputs.size(); ++slot)
          if (graph_.root(graph_.nodes[i].inputs[slot]) == root) found.emplace_back(node_at(i), slot);
    return found;
  }

  /// The one node that reads this value, or null when there are none or several.
  Node* only_reader(ValueId value) {
    const auto all = readers(value);
    return all.size() == 1 ? all[0].first : nullptr;
  }

  Node* backward_of(const Node& forward) {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (!dead_[i] && node.phase == Phase::backward && node.layer == forward.layer &&
          node.op == OpKey{forward.op.kind, Direction::backward})
        return node_at(i);
    }
    return nullptr;
  }

  const Node* forward_of(const Node& backward) {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (!dead_[i] && node.phase == Phase::forward && node.layer == backward.layer &&
          node.op.kind == backward.op.kind)
        return node_at(i);
    }
    return nullptr;
  }

  void kill(const Node* node) { dead_[static_cast<std::size_t>(node - graph_.nodes.data())] = true; }

  static bool is_batchnorm_forward(const Node& node) {
    return node.op == OpKey{OpKind::batchnorm, Direction::forward} ||
           node.op == OpKey{OpKind::batchnorm, Direction::inference};
  }

  void relu_into_producer(std::size_t index) {
    Node& relu = graph_.nodes[index];
    const ValueId x = relu.inputs[0], y = relu.outputs[0];
    Node* from = producer(x);
    if (!from || only_reader(x) != &relu || from->outputs[0] != x) return;
    if (auto* conv = std::get_if<Conv2dAttrs>(&from->attrs);
        conv && from->op.direction == Direction::forward) {
      conv->relu = true;
    } else if (auto* dense = std::get_if<DenseAttrs>(&from->attrs);
               dense && from->op.direction == Direction::forward) {
      dense->relu = true;
    } else if (auto* add = std::get_if<AddAttrs>(&from->attrs); add && from->phase == Phase::forward) {
      add->relu = true;
    } else if (is_batchnorm_forward(*from)) {
      if (!relu_after_batchnorm(*from, relu)) return;
      std::get<BatchNormAttrs>(from->attrs).relu = true;
    } else {
      return;
    }
    from->outputs[0] = y;
    kill(&relu);
  }

  /// Moves relu.backward into batchnorm.backward where it feeds nothing else. Without a backward (inference)
  /// there is nothing to move.
  bool relu_after_batchnorm(Node& norm, const Node& relu) {
    Node* norm_backward = backward_of(norm);
    if (!norm_backward) return true;
    Node* relu_backward = backward_of(relu);
    if (!relu_backward || norm_backward->inputs[0] != relu_backward->outputs[0] ||
        only_reader(relu_backward->outputs[0]) != norm_backward)
      return false;
    std::get<BatchNormAttrs>(norm_backward->attrs).relu = true;
    norm_backward->inputs[0] = relu_backward->inputs[0];
    norm_backward->inputs.push_back(relu.outputs[0]);
    kill(relu_backward);
    return true;
  }

  void statistics_into_producer(std::size_t index) {
    Node& norm = graph_.nodes[index];
    auto& attrs = std::get<BatchNormAttrs>(norm.attrs);
    Node* from = producer(norm.inputs[0]);
    if (!from || from->outputs[0] != norm.inputs[0]) return;
    if (auto* conv = std::get_if<Conv2dAttrs>(&from->attrs);
        conv && from->op.direction == Direction::forward) {
      conv->stats = true;
    } else if (auto* dense = std::get_if<DenseAttrs>(&from->attrs);
               dense && from->op.direction == Direction::forward) {
      dense->stats = true;
    } else {
      return;
    }
    // A second batch norm over the same output shares the statistics.
    if (from->outputs.size() == 1) {
      const Shape& shape = graph_.value(norm.inputs[1]).desc.shape;
      from->outputs.push_back(graph_.add_value(
          {from->layer + ".stats", {DType::f32, {2, shape[0]}}, Storage::transient, kNoValue, 0}));
    }
    norm.inputs.push_back(from->outputs[1]);
    attrs.stats = true;
  }

  void pool_into_batchnorm(std::size_t index) {
    Node& pool = graph_.nodes[index];
    const ValueId full = pool.inputs[0];
    Node* norm = producer(full);
    if (!norm || !is_batchnorm_forward(*norm) || norm->outputs[0] != full) return;
    const auto& pool_attrs = std::get<Pool2dAttrs>(pool.attrs);
    auto& norm_attrs = std::get<BatchNormAttrs>(norm->attrs);
    if (norm_attrs.pool) return;  // a second pooling, of what the first one left
    if (norm->op.direction == Direction::inference) {
      if (only_reader(full) != &pool) return;
    } else if (!pool_backward_into_batchnorm(*norm, pool, full)) {
      return;
    }
    norm_attrs.pool = true;
    norm_attrs.window = pool_attrs.window;
    norm->outputs[0] = pool.outputs[0];
    if (norm->op.direction == Direction::forward) norm->outputs.push_back(pool.outputs[1]);
    kill(&pool);
  }

  bool pool_backward_into_batchnorm(const Node& norm, const Node& pool, ValueId full) {
    Node* norm_backward = backward_of(norm);
    Node* pool_backward = backward_of(pool);
    if (!norm_backward || !pool_backward || pool.outputs.size() != 2 ||
        norm_backward->inputs[0] != pool_backward->outputs[0] ||
        only_reader(pool_backward->outputs[0]) != norm_backward)
      return false;
    // The full-size output disappears, so only these two may read it: the pooling and the fused ReLU's mask,
    // which the pooled output serves as well (the gradient reaches the maximum alone).
    for (const auto& [node, slot] : readers(full))
      if (node != &pool && node != norm_backward) return false;
    auto& attrs = std::get<BatchNormAttrs>(norm_backward->attrs);
    attrs.pool = true;
    attrs.window = std::get<Pool2dAttrs>(pool.attrs).window;
    norm_backward->inputs[0] = pool_backward->inputs[0];
    if (attrs.relu) norm_backward->inputs[4] = pool.outputs[0];
    norm_backward->inputs.push_back(pool.outputs[1]);
    kill(pool_backward);
    return true;
  }

  void mask_into_producer(std::size_t index) {
    Node& relu = graph_.nodes[index];
    const ValueId dy = relu.inputs[0], y = relu.inputs[1];
    Node* from = producer(graph_.root(dy));
    if (!from || from->phase != Phase::backward || from->outputs[0] != graph_.root(dy) ||
        only_reader(dy) != &relu)
      return;
    const Node* forward = forward_of(*from);
    if (!forward || graph_.root(forward->inputs[0]) != graph_.root(y)) return;
    if (!set_mask(*from, *forward)) return;
    Value& dx = graph_.values[static_cast<std::size_t>(relu.outputs[0])];
    dx.alias_of = graph_.root(dy);
    dx.alias_offset = 0;
    kill(&relu);
  }

  static bool set_mask(Node& backward, const Node& forward) {
    switch (backward.op.kind) {
      case OpKind::conv2d:
        std::get<Conv2dAttrs>(backward.attrs).mask = true;
        break;
      case OpKind::dense:
        std::get<DenseAttrs>(backward.attrs).mask = true;
        break;
      case OpKind::avgpool2d:
        std::get<Pool2dAttrs>(backward.attrs).mask = true;
        break;
      case OpKind::global_avgpool:
        std::get<GlobalPoolAttrs>(backward.attrs).mask = true;
        break;
      case OpKind::maxpool2d:
        std::get<Pool2dAttrs>(backward.attrs).mask = true;
        backward.inputs.push_back(forward.outputs[0]);
        return true;
      case OpKind::batchnorm:  // its forward input is a slot already
        std::get<BatchNormAttrs>(backward.attrs).mask = true;
        return true;
      default:
        return false;
    }
    backward.inputs.push_back(forward.inputs[0]);
    return true;
  }

  Graph& graph_;
  std::vector<bool> dead_;
};

}  // namespace

int fuse(Graph& graph) {
  return Fuser(graph).run();
}

}  // namespace quern
