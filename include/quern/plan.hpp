#pragma once

/// The plan: an implementation chosen for every node and one arena laid out by lifetime. A plan is made for a
/// DeviceInfo, so it can be made and printed for a GPU that is not there.

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "quern/graph.hpp"
#include "quern/implementation.hpp"

namespace quern {

/// "conv2d.forward=cudnn" or "conv2d=onednn:winograd": which implementation to force. "cudnn" (everything):
/// which to prefer; operations that it has not or refuses keep the default order. Later entries win. Text:
/// `--impl` may be repeated and takes comma-separated lists.
struct ImplChoice {
  std::string op;    ///< empty: every operation; "conv2d": every direction; "conv2d.forward"
  std::string impl;  ///< provider, provider:name, or auto: the fastest, see autotune.hpp
};
ImplChoice parse_impl_choice(std::string_view text);

/// Chains of nodes that run depth first on a CPU, see graph/chain.hpp. The results are the same to the bit.
struct ChainOptions {
  bool enabled = true;      ///< false: every node runs as a whole
  std::int64_t images = 0;  ///< at a time; 0: as many as the cache takes
};

struct PlanOptions {
  std::vector<ImplChoice> forced;
  bool reuse_memory = true;  ///< false: every transient gets bytes of its own (for debugging and tests)
  ChainOptions chains;
};

/// Whether graphs for this device are to be built with GraphOptions::few_launches: on a GPU and on its
/// emulator, unless a choice in force names an operation that such graphs have merged with another
/// ("conv2d.backward_data=cudnn").
bool wants_few_launches(const DeviceInfo& device, const std::vector<ImplChoice>& forced);

struct PlannedNode {
  NodeId node = 0;
  OpDesc desc;
  const Implementation* implementation = nullptr;  ///< owned by the registry, which outlives the plan
  /// Those before it in the table, and why they were passed over.
  std::vector<std::pair<std::string, std::string>> refusals;
  /// With `auto`: seconds a run of every candidate, in the table's order.
  std::vector<std::pair<std::string, double>> times;
  int launches = 1;  ///< of kernels, a run; on a CPU, where none are launched, calls
};

struct Plan {
  Graph graph;
  DeviceInfo device;
  std::vector<PlannedNode> nodes;
  std::vector<std::size_t>
      offsets;  ///< per value: byte offset in the arena; only meaningful for transient roots
  std::size_t arena_bytes = 0;
  std::size_t transient_bytes = 0;  ///< without reuse it would be this much
  ChainOptions chains;
};

/// Whether the choice in force for an operation is `auto`.
bool is_auto(const PlanOptions& options, OpKey op);

/// Chooses and lays out; what is left to `auto` gets the first of its table, see choose_by_time(). An
/// operation that nobody serves, or a forced implementation that refuses or does not exist, is an input error
/// that lists the candidates and their reasons.
Plan make_plan(Graph graph, const Registry& registry, const DeviceInfo& device,
               const PlanOptions& options = {});

/// Kernel launches of one walk: the nodes of a captured graph.
int launches(const Plan& plan);

/// The table `quern info --plan` prints: nodes, shapes, implementation, refusals, arena size.
std::string format_plan(const Plan& plan);

}  // namespace quern
