// Pooling through cuDNN's older API: maxima without their positions, averages, and the averages' backward.

#include <optional>

#include "providers/cudnn/legacy.hpp"
#include "providers/cudnn/support.hpp"

namespace quern::cudnn {

namespace {

/// The image and the result of a pooling, whichever way it is gone.
struct PoolTensors {
  TensorDesc x, y;
};
PoolTensors tensors_of(const OpDesc& desc) {
  if (desc.op.direction == Direction::forward) return {desc.inputs[0], desc.outputs[0]};
  return {desc.outputs[0], desc.inputs[0]};
}

PoolingShape shape_of(const OpDesc& desc) {
  if (desc.op.kind == OpKind::global_avgpool) {
    const Shape& x = tensors_of(desc).x.shape;
    return {CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING, static_cast<int>(x[1]), static_cast<int>(x[2])};
  }
  const auto& attrs = desc.as<Pool2dAttrs>();
  const Window& w = attrs.window;
  const auto mode = desc.op.kind == OpKind::maxpool2d ? CUDNN_POOLING_MAX_DETERMINISTIC
                    : attrs.count_include_pad         ? CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING
                                                      : CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING;
  return {mode, w.r, w.s, w.pad_top, w.pad_left, w.stride_h, w.stride_w};
}

/// cuDNN pads both ends alike. More or less padding at the end is the same where it gives as many windows.
Refusal refuse_padding(const OpDesc& desc) {
  const auto& w = desc.as<Pool2dAttrs>().window;
  const PoolTensors t = tensors_of(desc);
  const auto fits = [](std::int64_t in, std::int64_t out, int size, int stride, int pad) {
    return in + 2 * pad >= size && (in + 2 * pad - size) / stride + 1 == out;
  };
  if (!fits(t.x.shape[1], t.y.shape[1], w.r, w.stride_h, w.pad_top) ||
      !fits(t.x.shape[2], t.y.shape[2], w.s, w.stride_w, w.pad_left))
    return fmt::format("needs the same padding at both ends, got top {} left {} bottom {} right {}",
                       w.pad_top, w.pad_left, w.pad_bottom, w.pad_right);
  return {};
}

Refusal refuse(const OpDesc& desc, const DeviceInfo& device) {
  if (auto reason = common_refusal(desc, device)) return reason;
  const PoolTensors t = tensors_of(desc);
  if (t.x.dtype != t.y.dtype)
    return fmt::format("needs operands of one type, got {} and {}", to_string(t.x), to_string(t.y));
  if (desc.op.kind == OpKind::global_avgpool) return {};
  if (desc.op.kind == OpKind::maxpool2d && desc.as<Pool2dAttrs>().save_argmax)
    return "needs save_argmax off: cuDNN does not tell where a maximum was";
  return refuse_padding(desc);
}

class PoolExecutable final : public Executable {
 public:
  PoolExecutable(const OpDesc& desc, Device& device)
      : context_(Context::of(device.info().index)),
        pooling_(shape_of(desc)),
        x_(channels_last(tensors_of(desc).x)),
        y_(channels_last(tensors_of(desc).y)),
        forward_(desc.op.direction == Direction::forward) {
    const bool mask = desc.op.kind == OpKind::global_avgpool ? desc.as<GlobalPoolAttrs>().mask
                                                             : desc.as<Pool2dAttrs>().mask;
    if (!forward_ && mask) mask_.emplace(channels_last(tensors_of(desc).x));
  }

  void run(const RunArgs& args) override {
    const cudnnHandle_t handle = context_.on(args.stream);
    if (forward_) {
      QUERN_CUDNN(cudnnPoolingForward, handle, pooling_.get(), &kOne, x_.get(), args.in[0], &kZero, y_.get(),
                  args.out[0]);
      return;
    }
    // For averages y and x only give their shapes; their contents are not looked at.
    QUERN_CUDNN(cudnnPoolingBackward, handle, pooling_.get(), &kOne, y_.get(), args.in[0], y_.get(),
                args.in[0], x_.get(), args.out[0], &kZero, x_.get(), args.out[0]);
    if (mask_) mask_->backward(handle, args.out[0], args.in[1], args.out[0]);
  }

 private:
  Context& context_;
  PoolingDescriptor pooling_;
  TensorDescriptor x_, y_;
  bool forward_;
  std::optional<Relu> mask_;
};

}  // namespace

void add_pooling(Registry& registry) {
  const auto add = [&](OpKind kind, Direction direction) {
    add_entry(registry, {"pooling", {kind, direction}, refuse, prepare_as<PoolExecutable>()});
  };
  add(OpKind::maxpool2d, Direction::forward);
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    add(OpKind::avgpool2d, direction);
    add(OpKind::global_avgpool, direction);
  }
}

}  // namespace quern::cudnn
