#include "providers/cudnn/legacy.hpp"
#include "providers/cudnn/support.hpp"

namespace quern::cudnn {

namespace {

/// Any shape as one row.
TensorLayout flat(const TensorDesc& desc) {
  return channels_last({desc.dtype, {1, desc.elements()}});
}

Refusal refuse(const OpDesc& desc, const DeviceInfo& device) {
  if (auto reason = common_refusal(desc, device)) return reason;
  for (const TensorDesc& tensor : desc.inputs)
    if (tensor.dtype != desc.outputs[0].dtype)
      return fmt::format("needs operands of one type, got {} and {}", to_string(tensor),
                         to_string(desc.outputs[0]));
  return {};
}

class ReluExecutable final : public Executable {
 public:
  ReluExecutable(const OpDesc& desc, Device& device)
      : context_(Context::of(device.info().index)),
        relu_(flat(desc.outputs[0])),
        forward_(desc.op.direction == Direction::forward) {}

  void run(const RunArgs& args) override {
    const cudnnHandle_t handle = context_.on(args.stream);
    if (forward_)
      relu_.forward(handle, args.in[0], args.out[0]);
    else
      relu_.backward(handle, args.in[0], args.in[1], args.out[0]);
  }

 private:
  Context& context_;
  Relu relu_;
  bool forward_;
};

}  // namespace

void add_relu(Registry& registry) {
  for (const Direction direction : {Direction::forward, Direction::backward})
    add_entry(registry, {"activation", {OpKind::relu, direction}, refuse, prepare_as<ReluExecutable>()});
}

}  // namespace quern::cudnn
