#include "graph/liveness.hpp"
#include "quern/graph.hpp"

namespace quern {
namespace {

/// Whether the operation may write over the operand in this slot (op.hpp, "in place").
bool allows_in_place(OpKind kind, std::size_t slot) {
  switch (kind) {
    case OpKind::relu:
    case OpKind::dropout:
      return slot == 0;
    case OpKind::add:
      return slot <= 1;
    default:
      return false;
  }
}

}  // namespace

int mark_in_place(Graph& graph) {
  int marked = 0;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    for (std::size_t slot = 0; slot < node.inputs.size(); ++slot) {
      if (!allows_in_place(node.op.kind, slot)) continue;
      const ValueId in = graph.root(node.inputs[slot]);
      Value& out = graph.values[static_cast<std::size_t>(node.outputs[0])];
      const Value& owner = graph.value(in);
      if (out.alias_of != kNoValue || owner.storage != Storage::transient ||
          owner.desc.bytes() != out.desc.bytes() || is_kept(graph, in) || is_kept(graph, node.outputs[0]))
        continue;
      // Recomputed every time: a mark lengthens the life of the owner.
      const auto lives = liveness(graph);
      if (lives[static_cast<std::size_t>(in)].last != static_cast<NodeId>(i)) continue;
      bool twice =
          false;  // add(x, x) reads its operand through two slots; both are this node, which is fine,
      for (std::size_t other = 0; other < node.inputs.size();
           ++other)  // but another operand must not be the owner
        twice |=
            other != slot && graph.root(node.inputs[other]) == in && !allows_in_place(node.op.kind, other);
      if (twice) continue;
      out.alias_of = in;
      out.alias_offset = 0;
      ++marked;
      break;
    }
  }
  return marked;
}

}  // namespace quern
