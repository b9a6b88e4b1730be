#pragma once

/// When each value's bytes are needed: from the node that first writes them to the last that reads or writes.

#include <vector>

#include "quern/graph.hpp"

namespace quern {

struct Life {
  NodeId first = -1, last = -1;  ///< both inclusive; -1: never used
  bool overlaps(const Life& other) const { return first <= other.last && other.first <= last; }
};

/// Per value; only roots have meaning. Views count for their owner.
std::vector<Life> liveness(const Graph& graph);

/// Values the session reads after the step: they keep their bytes to the end.
bool is_kept(const Graph& graph, ValueId root);

}  // namespace quern
