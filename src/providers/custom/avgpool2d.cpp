#include "kernels/avgpool2d.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_avgpool2d(Registry& registry) {
  using kernels::AvgPool2dBackwardArgs;
  using kernels::AvgPool2dForwardArgs;

  KernelEntry<AvgPool2dForwardArgs> forward;
  forward.name = "gather";
  forward.op = {OpKind::avgpool2d, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(avgpool2d_forward);
  forward.refusal = needs_one_type;
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    const auto& attrs = desc.as<Pool2dAttrs>();
    AvgPool2dForwardArgs args;
    args.window = kernels::pool_window(attrs.window, desc.inputs[0].shape, desc.outputs[0].shape);
    args.batch = static_cast<int>(desc.inputs[0].shape[0]);
    args.channels = static_cast<int>(desc.inputs[0].shape[3]);
    args.count_include_pad = attrs.count_include_pad;
    args.type = activation_type(desc);
    return args;
  };
  forward.bind = [](AvgPool2dForwardArgs& args, const RunArgs& run) {
    args.x = run.in[0];
    args.y = run.out[0];
  };
  add_kernel(registry, forward);

  KernelEntry<AvgPool2dBackwardArgs> backward;
  backward.name = "gather";
  backward.op = {OpKind::avgpool2d, Direction::backward};
  backward.launchers = QUERN_LAUNCHERS(avgpool2d_backward);
  backward.refusal = needs_one_type;
  backward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    const auto& attrs = desc.as<Pool2dAttrs>();
    AvgPool2dBackwardArgs args;
    args.window = kernels::pool_window(attrs.window, desc.outputs[0].shape, desc.inputs[0].shape);
    args.batch = static_cast<int>(desc.outputs[0].shape[0]);
    args.channels = static_cast<int>(desc.outputs[0].shape[3]);
    args.count_include_pad = attrs.count_include_pad;
    args.type = activation_type(desc);
    return args;
  };
  backward.bind = [](AvgPool2dBackwardArgs& args, const RunArgs& run) {
    args.dy = run.in[0];
    args.x = run.in.size() > 1 ? run.in[1] : nullptr;
    args.dx = run.out[0];
  };
  add_kernel(registry, backward);
}

}  // namespace quern
