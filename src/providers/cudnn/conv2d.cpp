// Convolutions through cuDNN's graph API. Bias and ReLU are part of the graph where an engine takes them so;
// otherwise they, the bias's gradient and a mask follow as calls of their own.
//
// In bf16 cuDNN wants both factors in bf16 and writes gradients of weights and biases in bf16: weights and
// bias are cast on the way in, their gradients on the way out, rounded once where an f32 result would not be.

#include <optional>

#include "kernels/cast.cuh"
#include "providers/cudnn/legacy.hpp"
#include "providers/cudnn/support.hpp"
#include "quern/error.hpp"

namespace quern::cudnn {

namespace {

DType activation_type(const OpDesc& desc) {
  return desc.inputs[0].dtype;
}

Refusal refuse(const OpDesc& desc, const DeviceInfo& device) {
  if (auto reason = common_refusal(desc, device)) return reason;
  const auto& attrs = desc.as<Conv2dAttrs>();
  if (desc.precision == Precision::tf32 && device.sm < 80)
    return fmt::format("needs sm_80 or later for tf32, this is sm_{}", device.sm);
  if (attrs.stats && desc.op.direction == Direction::forward)
    return "needs stats off: cuDNN's convolutions take no statistics of their result";
  const bool weights = desc.op.direction == Direction::backward_weights;
  const TensorDesc& other = weights ? desc.inputs[1] : desc.outputs[0];
  const DType wanted = desc.precision == Precision::bf16 ? DType::bf16 : DType::f32;
  for (const TensorDesc& tensor : {desc.inputs[0], other})
    if (tensor.dtype != wanted)
      return fmt::format("needs activations in {}, got {}", to_string(wanted), to_string(tensor));
  return {};
}

EngineRules rules_of(const OpDesc& desc, const DeviceInfo& device) {
  EngineRules rules;
  rules.tensor_cores = desc.precision != Precision::fp32;
  rules.nondeterministic = device.allow_nondeterministic;
  return rules;
}

struct Chosen {
  std::shared_ptr<const GraphPlan> plan;
  bool fused = false;  ///< bias and ReLU are inside
  std::string failure;
};

/// The plan with the epilogue inside, or without it where no engine has both.
Chosen choose(const OpDesc& desc, const DeviceInfo& device) {
  Context& context = Context::of(device.index);
  const auto& attrs = desc.as<Conv2dAttrs>();
  const bool forward = desc.op.direction == Direction::forward;
  ConvGraph graph = conv_graph(desc, activation_type(desc));
  const EngineRules rules = rules_of(desc, device);
  const std::string key =
      fmt::format("{}{}", describe(desc), rules.nondeterministic ? " nondeterministic" : "");
  if (forward && (attrs.bias || attrs.relu)) {
    graph.bias = attrs.bias;
    graph.relu = attrs.relu;
    if (const auto& fused = context.plan(key + " fused", graph, rules); fused.plan)
      return {fused.plan, true, {}};
    graph.bias = graph.relu = false;
  }
  const auto& planned = context.plan(key, graph, rules);
  return {planned.plan, false, planned.failure};
}

Refusal ask_library(const OpDesc& desc, const DeviceInfo& device) {
  const Chosen chosen = choose(desc, device);
  if (!chosen.plan) return chosen.failure;
  return {};
}

class ConvExecutable final : public Executable {
 public:
  ConvExecutable(const OpDesc& desc, Device& device)
      : ConvExecutable(desc, device, choose(desc, device.info())) {}

  std::size_t workspace_bytes() const override { return layout_.bytes(); }

  void run(const RunArgs& args) override {
    const cudnnHandle_t handle = context_.on(args.stream);
    if (direction_ == Direction::forward)
      forward(handle, args);
    else if (direction_ == Direction::backward_data)
      backward_data(handle, args);
    else
      backward_weights(handle, args);
  }

 private:
  ConvExecutable(const OpDesc& desc, Device& device, Chosen chosen)
      : context_(Context::of(device.info().index)),
        attrs_(desc.as<Conv2dAttrs>()),
        direction_(desc.op.direction),
        bf16_(activation_type(desc) == DType::bf16),
        fused_(chosen.fused),
        bound_(require(std::move(chosen))),
        graph_(conv_graph(desc, activation_type(desc))),
        y_(graph_.y),
        channel_(channel_layout()) {
    const bool forward = direction_ == Direction::forward;
    library_ = layout_.add(bound_.plan().workspace_bytes());
    for (const std::int64_t extent : graph_.w.extents) weights_ *= extent;
    if (bf16_) cast_weights_ = layout_.add(static_cast<std::size_t>(weights_) * size_of(DType::bf16));
    // Inside the graph the bias is f32 beside bf16 activations; behind it types must agree.
    if (bf16_ && attrs_.bias && direction_ != Direction::backward_data && !fused_)
      cast_bias_ = layout_.add(static_cast<std::size_t>(graph_.y.extents[1]) * size_of(DType::bf16));
    if (forward && attrs_.relu && !fused_) relu_.emplace(graph_.y);
    if (direction_ == Direction::backward_data && attrs_.mask) relu_.emplace(graph_.x);
  }

  static std::shared_ptr<const GraphPlan> require(Chosen chosen) {
    if (!chosen.plan) fail_device("cudnn: {}", chosen.failure);
    return std::move(chosen.plan);
  }

  TensorLayout channel_layout() const {
    TensorLayout layout = per_channel(graph_.y.extents[1]);
    layout.type = graph_.y.type;
    return layout;
  }

  /// The weights as the library reads them.
  void* factor(const RunArgs& args, void* weights) const {
    if (!bf16_) return weights;
    void* const cast = at(args.workspace, cast_weights_);
    kernels::cuda::cast_to_bf16({weights, cast, weights_}, args.stream);
    return cast;
  }

  void forward(cudnnHandle_t handle, const RunArgs& args) {
    void* const addresses[] = {args.in[0], factor(args, args.in[1]), args.out[0],
                               attrs_.bias ? args.in[2] : nullptr};
    bound_.run(handle, std::span(addresses).first(bound_.plan().bound().size()),
               at(args.workspace, library_));
    if (fused_) return;
    if (attrs_.bias) {
      void* bias = args.in[2];
      if (bf16_) {
        bias = at(args.workspace, cast_bias_);
        kernels::cuda::cast_to_bf16({args.in[2], bias, graph_.y.extents[1]}, args.stream);
      }
      QUERN_CUDNN(cudnnAddTensor, handle, &kOne, channel_.get(), bias, &kOne, y_.get(), args.out[0]);
    }
    if (relu_) relu_->forward(handle, args.out[0], args.out[0]);
  }

  void backward_data(cudnnHandle_t handle, const RunArgs& args) {
    void* const addresses[] = {args.out[0], factor(args, args.in[1]), args.in[0]};
    bound_.run(handle, addresses, at(args.workspace, library_));
    if (relu_) relu_->backward(handle, args.out[0], args.in[2], args.out[0]);
  }

  void backward_weights(cudnnHandle_t handle, const RunArgs& args) {
    void* const gradient = bf16_ ? at(args.workspace, cast_weights_) : args.out[0];
    void* const addresses[] = {args.in[1], gradient, args.in[0]};
    bound_.run(handle, addresses, at(args.workspace, library_));
    if (bf16_) kernels::cuda::cast_to_f32({gradient, args.out[0], weights_}, args.stream);
    if (!attrs_.bias) return;
    void* const bias = bf16_ ? at(args.workspace, cast_bias_) : args.out[1];
    QUERN_CUDNN(cudnnConvolutionBackwardBias, handle, &kOne, y_.get(), args.in[0], &kZero, channel_.get(),
                bias);
    if (bf16_) kernels::cuda::cast_to_f32({bias, args.out[1], graph_.y.extents[1]}, args.stream);
  }

  Context& context_;
  Conv2dAttrs attrs_;
  Direction direction_;
  bool bf16_, fused_;
  BoundPlan bound_;
  ConvGraph graph_;
  TensorDescriptor y_, channel_;
  std::optional<Relu> relu_;
  std::int64_t weights_ = 1;
  WorkspaceLayout layout_;
  std::size_t library_ = 0, cast_weights_ = 0, cast_bias_ = 0;
};

}  // namespace

void add_conv2d(Registry& registry) {
  for (const Direction direction :
       {Direction::forward, Direction::backward_data, Direction::backward_weights})
    add_entry(registry,
              {"graph", {OpKind::conv2d, direction}, refuse, prepare_as<ConvExecutable>(), ask_library});
}

}  // namespace quern::cudnn
