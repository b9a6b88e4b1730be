#pragma once

/// The graph: typed values and nodes in execution order. Built from a model spec, extended by autodiff into a
/// training graph, rewritten by passes, then planned. Plain data; nothing here knows a device.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quern/model_spec.hpp"
#include "quern/op.hpp"

namespace quern {

using ValueId = std::int32_t;
using NodeId = std::int32_t;
inline constexpr ValueId kNoValue = -1;

enum class Storage : std::uint8_t {
  transient,   ///< lives inside one step; placed in the arena by lifetime
  persistent,  ///< lives across steps: weights, optimizer slots, metrics; bound by name
  external,    ///< read-only here, filled by the session: images, labels, order, steps; bound by name
};

struct Value {
  std::string name;
  TensorDesc desc;
  Storage storage = Storage::transient;
  ValueId alias_of = kNoValue;   ///< this value is a view of (or written in place over) another one
  std::size_t alias_offset = 0;  ///< bytes into it
};

enum class Phase : std::uint8_t { input, forward, loss, backward, update };
const char* to_string(Phase phase) noexcept;

struct Node {
  std::string name;   ///< unique: "conv1.forward", "conv1.backward_weights"
  std::string layer;  ///< the spec's layer, or "optimizer", "metrics", ...
  OpKey op;
  Attrs attrs;
  std::vector<ValueId> inputs, outputs;  ///< in the slot order of op.hpp
  Phase phase = Phase::forward;
};

class Graph {
 public:
  std::vector<Value> values;
  std::vector<Node> nodes;
  Precision precision = Precision::fp32;

  ValueId add_value(Value value);
  const Value& value(ValueId id) const { return values[static_cast<std::size_t>(id)]; }
  /// Follows views to the value that owns the bytes.
  ValueId root(ValueId id) const;
  /// Offset in bytes from the root.
  std::size_t root_offset(ValueId id) const;
  /// Throws an input error when there is no value of this name.
  ValueId find(std::string_view name) const;
  OpDesc desc(const Node& node) const;
  /// Checks every node against its operation's contract and that every transient is written before it is
  /// read.
  void validate() const;
};

/// How a parameter tensor starts.
struct Initializer {
  enum class Kind { zeros, ones, glorot_uniform } kind = Kind::zeros;
  double fan_in = 0,
         fan_out = 0;  ///< glorot_uniform: U(-l, l), l = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)
};

/// A tensor of the flat weight vector: parameters first, then running statistics. Offsets are in elements.
struct WeightTensor {
  std::string name;  ///< "conv1.weight", "bn1.running_mean"
  Shape shape;
  std::int64_t offset = 0;
  bool trained = true;  ///< false: running statistics
  bool decay = true;    ///< weight decay applies
  Initializer initializer;
  std::uint32_t stream = 0;  ///< Philox stream of its initial values
};

/// Layout of all weights of a model: the same for every graph built from one spec.
struct WeightLayout {
  std::vector<WeightTensor> tensors;
  std::int64_t trained_elements = 0;  ///< length of the part the optimizer sees, padding included
  std::int64_t total_elements = 0;
  const WeightTensor& find(std::string_view name) const;
};
WeightLayout weight_layout(const ModelSpec& spec);

/// Fills `weights` (layout.total_elements floats) with initial values: Philox, purpose init, one number an
/// element.
void initialize_weights(const WeightLayout& layout, std::uint64_t seed, std::span<float> weights);

struct GraphOptions {
  bool training = true;
  std::int64_t batch = 64;
  std::int64_t dataset_images = 60000;  ///< images in the external `images` value
  std::int64_t order_length = 60000;    ///< entries of the external `order` value
  std::int64_t steps = 1;               ///< entries of the external `steps` value; training only
  Precision precision = Precision::fp32;
  bool skip_nonfinite = false;  ///< training: a step whose loss or gradients are not finite updates nothing
  bool fuse = true;
  /// With `fuse`: also merge nodes that share a launch without sharing their work, for devices on which a
  /// launch costs more than most nodes of a small step (see wants_few_launches() in plan.hpp).
  bool few_launches = false;
  bool in_place = true;
};

/// Names of the values a session binds. Persistent: weights f32[total], gradients f32[trained], slot1, slot2
/// f32[trained] (as the optimizer has them), ema f32[total] (if on), metrics f64[4], step u8[64]; with
/// skip_nonfinite kept_metrics f64[4], guard f64[4] (StepGuard), and kept_running f32[total - trained] where
/// the model has running statistics, which both start as what is to be kept of metrics and weights. External:
/// images, labels, order; steps u8[S,64] when training, where the last node of a walk moves `step` on to the
/// next entry of `steps`; an evaluation graph only reads `step`. In an evaluation graph `weights` may be
/// bound to the average. `logits`, `loss` are transients.
namespace names {
inline constexpr const char* kWeights = "weights";
inline constexpr const char* kGradients = "gradients";
inline constexpr const char* kSlot1 = "slot1";
inline constexpr const char* kSlot2 = "slot2";
inline constexpr const char* kEma = "ema";
inline constexpr const char* kMetrics = "metrics";
inline constexpr const char* kKeptMetrics = "kept_metrics";
inline constexpr const char* kKeptRunning = "kept_running";
inline constexpr const char* kGuard = "guard";
inline constexpr const char* kImages = "images";
inline constexpr const char* kLabels = "labels";
inline constexpr const char* kOrder = "order";
inline constexpr const char* kStep = "step";
inline constexpr const char* kSteps = "steps";
inline constexpr const char* kLogits = "logits";
inline constexpr const char* kLoss = "loss";
}  // namespace names

/// The whole road from a spec to a graph ready for planning: forward, loss, metrics; when training also
/// backward and update; then the passes. Evaluation graphs gather through `order` like training does.
Graph build_graph(const ModelSpec& spec, const GraphOptions& options);

// The stages, for tests and tools.
Graph build_forward(const ModelSpec& spec, const GraphOptions& options);
/// Appends gradient nodes for every node that leads from a parameter to the loss.
void add_backward(Graph& graph);
void add_update(Graph& graph, const ModelSpec& spec, const WeightLayout& layout, bool skip_nonfinite = false);
/// Merges neighbours into fused nodes; returns how many nodes it removed.
int fuse(Graph& graph);
/// Merges nodes so that one kernel can serve both, after fuse(); returns how many nodes it removed.
int merge_launches(Graph& graph);
/// Lets element-wise nodes write over an operand that nobody reads afterwards.
int mark_in_place(Graph& graph);

}  // namespace quern
