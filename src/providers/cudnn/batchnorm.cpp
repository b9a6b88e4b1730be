// Batch normalisation through cuDNN's older API in its persistent spatial mode, the fast one for NHWC.
//
// cuDNN's running variance is the unbiased one, the contract's is biased, and both running averages share a
// factor. So cuDNN averages over this batch alone (factor 1) into scratch memory, and the update is done from
// there:
//
//   running_mean = momentum * running_mean + (1 - momentum) * mean
//   running_var  = momentum * running_var  + (1 - momentum) * (M - 1) / M * unbiased,   M rows
//
// Statistics that come with the input are not read: cuDNN takes its own while it normalises.

#include <optional>

#include "providers/cudnn/legacy.hpp"
#include "providers/cudnn/support.hpp"

namespace quern::cudnn {

namespace {

constexpr auto kMode = CUDNN_BATCHNORM_SPATIAL_PERSISTENT;
constexpr auto kOps = CUDNN_BATCHNORM_OPS_BN;

/// x, also where it is not an input: in the backward it is the second.
const TensorDesc& x_of(const OpDesc& desc) {
  return desc.inputs[desc.op.direction == Direction::backward ? 1 : 0];
}
std::int64_t channels_of(const OpDesc& desc) {
  const Shape& x = x_of(desc).shape;
  return x[x.rank() - 1];
}

Refusal refuse(const OpDesc& desc, const DeviceInfo& device) {
  if (auto reason = common_refusal(desc, device)) return reason;
  const auto& attrs = desc.as<BatchNormAttrs>();
  const Shape& x = x_of(desc).shape;
  if (attrs.pool) return "needs pool off: cuDNN does not pool behind a normalisation";
  if (x.rank() != 2 && x.rank() != 4) return fmt::format("needs [N,C] or [N,H,W,C], got {}", to_string(x));
  if (x.elements() == channels_of(desc) && desc.op.direction != Direction::inference)
    return "needs at least two rows: its variance divides by one less than their number";
  for (const TensorDesc& tensor : {desc.inputs[0], desc.outputs[0]})
    if (tensor.dtype != x_of(desc).dtype)
      return fmt::format("needs activations of one type, got {} and {}", to_string(tensor),
                         to_string(x_of(desc)));
  return {};
}

/// Descriptors of an operation, and what the library says of them.
struct Descriptors {
  explicit Descriptors(const OpDesc& desc)
      : x(channels_last(x_of(desc))), channel(per_channel(channels_of(desc))) {}

  std::size_t workspace(cudnnHandle_t handle, Direction direction) const {
    std::size_t bytes = 0;
    if (direction == Direction::forward)
      QUERN_CUDNN(cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize, handle, kMode, kOps, x.get(),
                  nullptr, x.get(), channel.get(), nullptr, &bytes);
    else if (direction == Direction::backward)
      QUERN_CUDNN(cudnnGetBatchNormalizationBackwardExWorkspaceSize, handle, kMode, kOps, x.get(), nullptr,
                  x.get(), nullptr, x.get(), channel.get(), nullptr, &bytes);
    return bytes;
  }
  std::size_t reserve(cudnnHandle_t handle) const {
    std::size_t bytes = 0;
    QUERN_CUDNN(cudnnGetBatchNormalizationTrainingExReserveSpaceSize, handle, kMode, kOps, nullptr, x.get(),
                &bytes);
    return bytes;
  }

  TensorDescriptor x, channel;
};

Refusal ask_library(const OpDesc& desc, const DeviceInfo& device) {
  const cudnnHandle_t handle = Context::of(device.index).handle();
  const Descriptors descriptors(desc);
  descriptors.workspace(handle, desc.op.direction);
  if (desc.op.direction != Direction::inference)
    if (const std::size_t bytes = descriptors.reserve(handle); bytes > 0)
      return fmt::format("needs no state between forward and backward, cuDNN wants to keep {} bytes", bytes);
  return {};
}

class BatchNormExecutable final : public Executable {
 public:
  BatchNormExecutable(const OpDesc& desc, Device& device)
      : context_(Context::of(device.info().index)),
        descriptors_(desc),
        attrs_(desc.as<BatchNormAttrs>()),
        direction_(desc.op.direction),
        channels_(static_cast<std::size_t>(channels_of(desc))),
        rows_(static_cast<double>(x_of(desc).elements() / channels_of(desc))) {
    const bool backward = direction_ == Direction::backward;
    library_bytes_ = descriptors_.workspace(context_.handle(), direction_);
    library_ = layout_.add(library_bytes_);
    if (direction_ == Direction::forward) batch_ = layout_.add(2 * channels_ * sizeof(float));
    if (backward && attrs_.relu) masked_ = layout_.add(x_of(desc).bytes());
    if (attrs_.relu || (backward && attrs_.mask)) relu_.emplace(channels_last(x_of(desc)));
  }

  std::size_t workspace_bytes() const override { return layout_.bytes(); }

  void run(const RunArgs& args) override {
    const cudnnHandle_t handle = context_.on(args.stream);
    if (direction_ == Direction::forward)
      forward(handle, args);
    else if (direction_ == Direction::inference)
      inference(handle, args);
    else
      backward(handle, args);
  }

 private:
  void forward(cudnnHandle_t handle, const RunArgs& args) {
    auto* const mean = static_cast<float*>(at(args.workspace, batch_));
    float* const variance = mean + channels_;
    auto* const saved = static_cast<float*>(args.out[1]);
    // Zero times what lies there is zero only if it is a number.
    QUERN_CUDNN(cudnnSetTensor, handle, descriptors_.channel.get(), mean, &kZero);
    QUERN_CUDNN(cudnnSetTensor, handle, descriptors_.channel.get(), variance, &kZero);
    QUERN_CUDNN(cudnnBatchNormalizationForwardTrainingEx, handle, kMode, kOps, &kOne, &kZero,
                descriptors_.x.get(), args.in[0], nullptr, nullptr, descriptors_.x.get(), args.out[0],
                descriptors_.channel.get(), args.in[1], args.in[2], 1.0, mean, variance, epsilon(), saved,
                saved + channels_, nullptr, at(args.workspace, library_), library_bytes_, nullptr, 0);
    const double fresh = 1.0 - static_cast<double>(attrs_.momentum);
    const float of_mean = static_cast<float>(fresh);
    const float of_variance = static_cast<float>(fresh * (rows_ - 1) / rows_);
    average(handle, of_mean, mean, args.out[2]);
    average(handle, of_variance, variance, args.out[3]);
    if (relu_) relu_->forward(handle, args.out[0], args.out[0]);
  }

  /// running = momentum * running + share * batch
  void average(cudnnHandle_t handle, float share, const float* batch, void* running) {
    QUERN_CUDNN(cudnnAddTensor, handle, &share, descriptors_.channel.get(), batch, &attrs_.momentum,
                descriptors_.channel.get(), running);
  }

  void inference(cudnnHandle_t handle, const RunArgs& args) {
    QUERN_CUDNN(cudnnBatchNormalizationForwardInference, handle, CUDNN_BATCHNORM_SPATIAL, &kOne, &kZero,
                descriptors_.x.get(), args.in[0], descriptors_.x.get(), args.out[0],
                descriptors_.channel.get(), args.in[1], args.in[2], args.in[3], args.in[4], epsilon());
    if (relu_) relu_->forward(handle, args.out[0], args.out[0]);
  }

  void backward(cudnnHandle_t handle, const RunArgs& args) {
    const auto* const saved = static_cast<const float*>(args.in[3]);
    const void* dy = args.in[0];
    if (attrs_.relu) {
      void* const masked = at(args.workspace, masked_);
      relu_->backward(handle, dy, args.in[4], masked);
      dy = masked;
    }
    QUERN_CUDNN(cudnnBatchNormalizationBackwardEx, handle, kMode, kOps, &kOne, &kZero, &kOne, &kZero,
                descriptors_.x.get(), args.in[1], nullptr, nullptr, descriptors_.x.get(), dy, nullptr,
                nullptr, descriptors_.x.get(), args.out[0], descriptors_.channel.get(), args.in[2], nullptr,
                args.out[1], args.out[2], epsilon(), saved, saved + channels_, nullptr,
                at(args.workspace, library_), library_bytes_, nullptr, 0);
    if (attrs_.mask) relu_->backward(handle, args.out[0], args.in[1], args.out[0]);
  }

  double epsilon() const { return static_cast<double>(attrs_.epsilon); }

  Context& context_;
  Descriptors descriptors_;
  BatchNormAttrs attrs_;
  Direction direction_;
  std::size_t channels_;
  double rows_;
  WorkspaceLayout layout_;
  std::size_t library_ = 0, library_bytes_ = 0, batch_ = 0, masked_ = 0;
  std::optional<Relu> relu_;
};

}  // namespace

void add_batchnorm(Registry& registry) {
  for (const Direction direction : {Direction::forward, Direction::inference, Direction::backward})
    add_entry(registry, {"batchnorm",
                         {OpKind::batchnorm, direction},
                         refuse,
                         prepare_as<BatchNormExecutable>(),
                         ask_library});
}

}  // namespace quern::cudnn
