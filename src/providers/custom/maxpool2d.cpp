#include "kernels/maxpool2d.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_maxpool2d(Registry& registry) {
  using kernels::MaxPool2dBackwardArgs;
  using kernels::MaxPool2dForwardArgs;

  KernelEntry<MaxPool2dForwardArgs> forward;
  forward.name = "gather";
  forward.op = {OpKind::maxpool2d, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(maxpool2d_forward);
  forward.refusal = needs_one_type;
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    MaxPool2dForwardArgs args;
    args.window =
        kernels::pool_window(desc.as<Pool2dAttrs>().window, desc.inputs[0].shape, desc.outputs[0].shape);
    args.batch = static_cast<int>(desc.inputs[0].shape[0]);
    args.channels = static_cast<int>(desc.inputs[0].shape[3]);
    args.type = activation_type(desc);
    return args;
  };
  forward.bind = [](MaxPool2dForwardArgs& args, const RunArgs& run) {
    args.x = run.in[0];
    args.y = run.out[0];
    args.argmax = run.out.size() > 1 ? output<std::uint8_t>(run, 1) : nullptr;
  };
  add_kernel(registry, forward);

  KernelEntry<MaxPool2dBackwardArgs> backward;
  backward.name = "gather";
  backward.op = {OpKind::maxpool2d, Direction::backward};
  backward.launchers = QUERN_LAUNCHERS(maxpool2d_backward);
  backward.refusal = needs_one_type;
  backward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    MaxPool2dBackwardArgs args;
    args.window =
        kernels::pool_window(desc.as<Pool2dAttrs>().window, desc.outputs[0].shape, desc.inputs[0].shape);
    args.batch = static_cast<int>(desc.outputs[0].shape[0]);
    args.channels = static_cast<int>(desc.outputs[0].shape[3]);
    args.type = activation_type(desc);
    return args;
  };
  backward.bind = [](MaxPool2dBackwardArgs& args, const RunArgs& run) {
    args.dy = run.in[0];
    args.argmax = input<std::uint8_t>(run, 1);
    args.y = run.in.size() > 2 ? run.in[2] : nullptr;
    args.dx = run.out[0];
  };
  add_kernel(registry, backward);
}

}  // namespace quern
