#include "kernels/avgpool2d.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_avgpool2d(Registry& registry) {
  using kernels::AvgPool2dBackwardArgs;
  using kernels::AvgPool2dForwardArgs;

  KernelEntry<AvgPool2dForwardArgs> forward;
  forward.name = "gather4";
  forward.op = {OpKind::avgpool2d, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(avgpool2d_forward);
  forward.refusal = [](const OpDesc& desc, const DeviceInfo&) { return needs_f32(desc); };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    const auto& attrs = desc.as<Pool2dAttrs>();
    AvgPool2dForwardArgs args;
    args.window = kernels::pool_window(attrs.window, desc.inputs[0].shape, desc.outputs[0].shape);
    args.batch = static_cast<int>(desc.inputs[0].shape[0]);
    args.channels = static_cast<int>(desc.inputs[0].shape[3]);
    args.count_include_pad = attrs.count_include_pad;
    return args;
  };
  forward.bind = [](AvgPool2dForwardArgs& args, const RunArgs& run) {
    args.x = input<float>(run, 0);
    args.y = output<float>(run, 0);
  };
  add_kernel(registry, forward);

  KernelEntry<AvgPool2dBackwardArgs> backward;
  backward.name = "gather4";
  backward.op = {OpKind::avgpool2d, Direction::backward};
  backward.launchers = QUERN_LAUNCHERS(avgpool2d_backward);
  backward.refusal = [](const OpDesc& desc, const DeviceInfo&) { return needs_f32(desc); };
  backward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    const auto& attrs = desc.as<Pool2dAttrs>();
    AvgPool2dBackwardArgs args;
    args.window = kernels::pool_window(attrs.window, desc.outputs[0].shape, desc.inputs[0].shape);
    args.batch = static_cast<int>(desc.outputs[0].shape[0]);
    args.channels = static_cast<int>(desc.outputs[0].shape[3]);
    args.count_include_pad = attrs.count_include_pad;
    return args;
  };
  backward.bind = [](AvgPool2dBackwardArgs& args, const RunArgs& run) {
    args.dy = input<float>(run, 0);
    args.x = run.in.size() > 1 ? input<float>(run, 1) : nullptr;
    args.dx = output<float>(run, 0);
  };
  add_kernel(registry, backward);
}

}  // namespace quern
