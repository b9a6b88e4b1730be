#include "kernels/maxpool2d.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_maxpool2d(Registry& registry) {
  using kernels::MaxPool2dBackwardArgs;
  using kernels::MaxPool2dForwardArgs;

  const auto needs_f32_image = [](const OpDesc& desc, const DeviceInfo&) -> Refusal {
    if (desc.inputs[0].dtype != DType::f32)
      return fmt::format("needs f32 operands, got {}", to_string(desc.inputs[0]));
    return {};
  };

  KernelEntry<MaxPool2dForwardArgs> forward;
  forward.name = "gather4";
  forward.op = {OpKind::maxpool2d, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(maxpool2d_forward);
  forward.refusal = needs_f32_image;
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    MaxPool2dForwardArgs args;
    args.window =
        kernels::pool_window(desc.as<Pool2dAttrs>().window, desc.inputs[0].shape, desc.outputs[0].shape);
    args.batch = static_cast<int>(desc.inputs[0].shape[0]);
    args.channels = static_cast<int>(desc.inputs[0].shape[3]);
    return args;
  };
  forward.bind = [](MaxPool2dForwardArgs& args, const RunArgs& run) {
    args.x = input<float>(run, 0);
    args.y = output<float>(run, 0);
    args.argmax = run.out.size() > 1 ? output<std::uint8_t>(run, 1) : nullptr;
  };
  add_kernel(registry, forward);

  KernelEntry<MaxPool2dBackwardArgs> backward;
  backward.name = "gather4";
  backward.op = {OpKind::maxpool2d, Direction::backward};
  backward.launchers = QUERN_LAUNCHERS(maxpool2d_backward);
  backward.refusal = needs_f32_image;
  backward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    MaxPool2dBackwardArgs args;
    args.window =
        kernels::pool_window(desc.as<Pool2dAttrs>().window, desc.outputs[0].shape, desc.inputs[0].shape);
    args.batch = static_cast<int>(desc.outputs[0].shape[0]);
    args.channels = static_cast<int>(desc.outputs[0].shape[3]);
    return args;
  };
  backward.bind = [](MaxPool2dBackwardArgs& args, const RunArgs& run) {
    args.dy = input<float>(run, 0);
    args.argmax = input<std::uint8_t>(run, 1);
    args.y = run.in.size() > 2 ? input<float>(run, 2) : nullptr;
    args.dx = output<float>(run, 0);
  };
  add_kernel(registry, backward);
}

}  // namespace quern
