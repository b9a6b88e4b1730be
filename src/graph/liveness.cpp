#include "graph/liveness.hpp"

#include <algorithm>

namespace quern {

bool is_kept(const Graph& graph, ValueId root) {
  for (std::size_t i = 0; i < graph.values.size(); ++i)
    if ((graph.values[i].name == names::kLogits || graph.values[i].name == names::kLoss) &&
        graph.root(static_cast<ValueId>(i)) == root)
      return true;
  return false;
}

std::vector<Life> liveness(const Graph& graph) {
  std::vector<Life> lives(graph.values.size());
  const auto touch = [&](ValueId id, NodeId node) {
    Life& life = lives[static_cast<std::size_t>(graph.root(id))];
    if (life.first < 0) life.first = node;
    life.last = node;
  };
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const ValueId id : graph.nodes[i].inputs) touch(id, static_cast<NodeId>(i));
    for (const ValueId id : graph.nodes[i].outputs) touch(id, static_cast<NodeId>(i));
  }
  for (std::size_t i = 0; i < lives.size(); ++i)
    if (lives[i].first >= 0 && graph.root(static_cast<ValueId>(i)) == static_cast<ValueId>(i) &&
        is_kept(graph, static_cast<ValueId>(i)))
      lives[i].last = static_cast<NodeId>(graph.nodes.size());
  return lives;
}

}  // namespace quern
