#pragma once

/// What happens at every node of a walk: held against the reference, or disturbed within the tolerances of
/// the conformance table.

#include <optional>
#include <string>

#include "check/oracle.hpp"
#include "check/tolerance.hpp"
#include "quern/executor.hpp"

namespace quern::test {

/// A node's operands on the host, read from the device before and after it ran.
class Operands {
 public:
  explicit Operands(Device& device) : device_(device) {}
  void before(const PlannedNode& node, const RunArgs& args) { inputs_ = read(node.desc.inputs, args.in); }
  void after(const PlannedNode& node, const RunArgs& args) { outputs_ = read(node.desc.outputs, args.out); }
  const check::Operands& inputs() const { return inputs_; }
  const check::Operands& outputs() const { return outputs_; }

 private:
  check::Operands read(const std::vector<TensorDesc>& descs, std::span<void* const> addresses) const;
  Device& device_;
  check::Operands inputs_, outputs_;
};

/// Runs the reference on the inputs every node had, and holds its outputs to the table's limits.
class GraphCheck final : public NodeObserver {
 public:
  GraphCheck(const Graph& graph, const check::Oracle& oracle, Device& device)
      : graph_(graph), oracle_(oracle), operands_(device) {}
  void before(const PlannedNode& node, const RunArgs& args) override { operands_.before(node, args); }
  void after(const PlannedNode& node, const RunArgs& args) override;

  /// The first node that was wrong, and how.
  const std::optional<std::string>& fault() const { return fault_; }
  int nodes() const { return nodes_; }

 private:
  const Graph& graph_;
  const check::Oracle& oracle_;
  Operands operands_;
  std::optional<std::string> fault_;
  int nodes_ = 0;
};

/// Moves every element that a node of a CPU executor wrote by up to a quarter of its limit in the table, so
/// that two runs tell how far results lie apart that are both right.
class Disturbance final : public NodeObserver {
 public:
  Disturbance(std::uint64_t seed, Device& device) : seed_(seed), operands_(device) {}
  void before(const PlannedNode& node, const RunArgs& args) override { operands_.before(node, args); }
  void after(const PlannedNode& node, const RunArgs& args) override;

 private:
  std::uint64_t seed_;
  std::uint64_t drawn_ = 0;
  Operands operands_;
};

}  // namespace quern::test
