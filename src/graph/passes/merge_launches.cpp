#include <algorithm>

#include "quern/error.hpp"
#include "quern/graph.hpp"

// Nodes that one launch can serve although neither is a part of the other. Off on a CPU, where nothing is
// launched. Runs after fuse(), whose rules know the separate nodes.
//
//   X.backward_data, X.backward_weights  => X.backward: two products over one gradient, whose blocks share
//                                           the device
//   softmax_xent, metrics                => attribute metrics: the rows are in registers already
//   input_batch, conv2d, softmax_xent    => attribute gather on the latter: the first layer reads bytes, not
//                                           floats that someone has to write first
namespace quern {
namespace {

class Merger {
 public:
  explicit Merger(Graph& graph) : graph_(graph), dead_(graph.nodes.size(), false) {}

  int run() {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (graph_.nodes[i].op.direction == Direction::backward_data)
        gradients_into_one(i);
      else if (graph_.nodes[i].op.kind == OpKind::metrics)
        metrics_into_loss(i);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (graph_.nodes[i].op.kind == OpKind::input_batch) batch_into_readers(i);
    std::vector<Node> kept;
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (!dead_[i]) kept.push_back(std::move(graph_.nodes[i]));
    const auto removed = static_cast<int>(graph_.nodes.size() - kept.size());
    graph_.nodes = std::move(kept);
    return removed;
  }

 private:
  /// The node of a layer with this operation, or null.
  Node* find(const std::string& layer, OpKey op) {
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (!dead_[i] && graph_.nodes[i].layer == layer && graph_.nodes[i].op == op) return &graph_.nodes[i];
    return nullptr;
  }

  void kill(const Node* node) { dead_[static_cast<std::size_t>(node - graph_.nodes.data())] = true; }

  /// dx and dw are both functions of dy and of what the forward kept, so that the later one can be computed
  /// where the earlier one is.
  void gradients_into_one(std::size_t index) {
    Node& data = graph_.nodes[index];
    const Node* weights = find(data.layer, {data.op.kind, Direction::backward_weights});
    if (!weights || weights->inputs[0] != data.inputs[0]) return;
    Attrs attrs = weights->attrs;  // with the bias
    const bool conv = data.op.kind == OpKind::conv2d;
    const bool mask = conv ? std::get<Conv2dAttrs>(data.attrs).mask : std::get<DenseAttrs>(data.attrs).mask;
    if (conv)
      std::get<Conv2dAttrs>(attrs).mask = mask;
    else
      std::get<DenseAttrs>(attrs).mask = mask;
    const ValueId x = weights->inputs[1];
    if (mask && graph_.root(data.inputs[2]) != graph_.root(x)) return;
    data.op.direction = Direction::backward;
    data.name = fmt::format("{}.{}", data.layer, to_string(data.op.direction));
    data.attrs = std::move(attrs);
    data.inputs = {data.inputs[0], x, data.inputs[1]};
    data.outputs.insert(data.outputs.end(), weights->outputs.begin(), weights->outputs.end());
    kill(weights);
  }

  void metrics_into_loss(std::size_t index) {
    const Node& metrics = graph_.nodes[index];
    for (std::size_t i = 0; i < index; ++i) {
      Node& loss = graph_.nodes[i];
      if (dead_[i] || loss.op.kind != OpKind::softmax_xent || loss.outputs[0] != metrics.inputs[0] ||
          loss.inputs[0] != metrics.inputs[1] || loss.inputs[1] != metrics.inputs[2])
        continue;
      std::get<SoftmaxXentAttrs>(loss.attrs).metrics = true;
      loss.inputs.push_back(metrics.inputs[3]);
      loss.outputs.push_back(metrics.outputs[0]);
      return kill(&metrics);
    }
  }

  /// Patches of few channels, which a kernel keeps in registers. Others are better multiplied as matrices,
  /// which bytes are not.
  static bool has_small_patches(const Node& node, const Shape& images) {
    const auto& attrs = std::get<Conv2dAttrs>(node.attrs);
    const Window& w = attrs.window;
    const bool plain = w.stride_h == 1 && w.stride_w == 1 && attrs.dilation_h == 1 && attrs.dilation_w == 1 &&
                       attrs.groups == 1 && w.r == w.s;
    return plain && ((w.r == 3 && (images[3] == 1 || images[3] == 3)) || (w.r == 5 && images[3] == 1));
  }

  void batch_into_readers(std::size_t index) {
    const Node batch = graph_.nodes[index];  // images, labels, order, step -> x, y
    const auto& input = std::get<InputBatchAttrs>(batch.attrs);
    const Shape images = graph_.value(batch.inputs[0]).desc.shape;
    const ValueId x = graph_.root(batch.outputs[0]), y = graph_.root(batch.outputs[1]);
    if (input.augment.enabled()) return;
    std::vector<std::pair<Node*, std::size_t>> readers;
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      Node& node = graph_.nodes[i];
      for (std::size_t slot = 0; slot < node.inputs.size() && !dead_[i]; ++slot) {
        const ValueId root = graph_.root(node.inputs[slot]);
        if (root != x && root != y) continue;
        const bool direct = node.inputs[slot] == root;  // not through a view of another shape
        const bool conv =
            node.op.kind == OpKind::conv2d && root == x && has_small_patches(node, images) &&
            (node.op.direction == Direction::forward || node.op.direction == Direction::backward_weights);
        const bool loss = node.op.kind == OpKind::softmax_xent && root == y;
        if (!direct || (!conv && !loss)) return;
        readers.emplace_back(&node, slot);
      }
    }
    for (const auto& [node, slot] : readers) {
      const bool loss = node->op.kind == OpKind::softmax_xent;
      if (loss) {
        std::get<SoftmaxXentAttrs>(node->attrs).gather = true;
      } else {
        auto& attrs = std::get<Conv2dAttrs>(node->attrs);
        attrs.gather = true;
        attrs.mean = input.mean;
        attrs.stddev = input.stddev;
      }
      node->inputs[slot] = batch.inputs[loss ? 1 : 0];
      node->inputs.insert(node->inputs.begin() + static_cast<std::ptrdiff_t>(slot) + 1,
                          {batch.inputs[2], batch.inputs[3]});
    }
    dead_[index] = true;
  }

  Graph& graph_;
  std::vector<bool> dead_;
};

}  // namespace

int merge_launches(Graph& graph) {
  return Merger(graph).run();
}

}  // namespace quern
