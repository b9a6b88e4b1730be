#include "kernels/relu.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_relu(Registry& registry) {
  using kernels::ReluBackwardArgs;
  using kernels::ReluForwardArgs;

  KernelEntry<ReluForwardArgs> forward;
  forward.name = "vec4";
  forward.op = {OpKind::relu, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(relu_forward);
  forward.refusal = [](const OpDesc& desc, const DeviceInfo&) { return needs_f32(desc); };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    ReluForwardArgs args;
    args.elements = desc.outputs[0].elements();
    return args;
  };
  forward.bind = [](ReluForwardArgs& args, const RunArgs& run) {
    args.x = input<float>(run, 0);
    args.y = output<float>(run, 0);
  };
  add_kernel(registry, forward);

  KernelEntry<ReluBackwardArgs> backward;
  backward.name = "vec4";
  backward.op = {OpKind::relu, Direction::backward};
  backward.launchers = QUERN_LAUNCHERS(relu_backward);
  backward.refusal = [](const OpDesc& desc, const DeviceInfo&) { return needs_f32(desc); };
  backward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    ReluBackwardArgs args;
    args.elements = desc.outputs[0].elements();
    return args;
  };
  backward.bind = [](ReluBackwardArgs& args, const RunArgs& run) {
    args.dy = input<float>(run, 0);
    args.y = input<float>(run, 1);
    args.dx = output<float>(run, 0);
  };
  add_kernel(registry, backward);
}

}  // namespace quern
