#pragma once

/// An execution plan of cuDNN's graph API: an engine chosen for a graph under rules, ready to run.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "providers/cudnn/conv_graph.hpp"

namespace quern::cudnn {

/// Which engines may be taken. cuDNN describes an engine by its numerical notes.
struct EngineRules {
  /// With f32 operands, tensor cores round them to tf32.
  bool tensor_cores = false;
  /// Winograd and Fourier transforms of the operands: their results are no sums of products.
  bool transforms = false;
  bool nondeterministic = false;
};

/// Why the rules exclude an engine with these notes, or nothing.
Refusal excluded(const EngineRules& rules, std::span<const cudnnBackendNumericalNote_t> notes);

/// What a plan is made for: the GPU behind a handle, or one that is only described (plans for it cannot run).
struct Target {
  cudnnHandle_t handle = nullptr;
  std::shared_ptr<Descriptor> properties;
};
/// `json`: what CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION of a device reads.
Target described_target(const std::string& json);

class GraphPlan {
 public:
  /// The first engine that cuDNN's heuristics propose, that the rules allow and that accepts the graph. None:
  /// null, and a sentence in `failure`.
  static std::shared_ptr<const GraphPlan> build(const Target& target, const ConvGraph& graph,
                                                const EngineRules& rules, std::string& failure);

  std::size_t workspace_bytes() const noexcept { return workspace_bytes_; }
  cudnnBackendDescriptor_t get() const noexcept { return plan_.get(); }
  std::span<const Operand> bound() const noexcept { return bound_; }
  /// "engine 38", for reports.
  std::int64_t engine() const noexcept { return engine_; }

 private:
  GraphPlan(const ConvGraph& graph, const Target& target);
  bool try_engines(const Target& target, cudnnBackendHeurMode_t mode, const EngineRules& rules);

  Operations operations_;
  std::vector<Operand> bound_;
  Descriptor graph_, config_, plan_;
  std::size_t workspace_bytes_ = 0;
  std::int64_t engine_ = -1;
  std::vector<std::string> failures_;
};

/// Addresses bound to a plan. Rebinding the same ones costs a comparison.
class BoundPlan {
 public:
  explicit BoundPlan(std::shared_ptr<const GraphPlan> plan) : plan_(std::move(plan)) {}
  const GraphPlan& plan() const noexcept { return *plan_; }
  /// `addresses` in the order of GraphPlan::bound(). Work goes to the stream of the handle.
  void run(cudnnHandle_t handle, std::span<void* const> addresses, void* workspace);

 private:
  std::shared_ptr<const GraphPlan> plan_;
  std::vector<void*> addresses_;
  void* workspace_ = nullptr;
  std::optional<Descriptor> pack_;
};

}  // namespace quern::cudnn
