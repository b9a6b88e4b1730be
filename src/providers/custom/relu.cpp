#include "kernels/relu.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_relu(Registry& registry) {
  using kernels::ReluBackwardArgs;
  using kernels::ReluForwardArgs;

  KernelEntry<ReluForwardArgs> forward;
  forward.name = "vector";
  forward.op = {OpKind::relu, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(relu_forward);
  forward.refusal = needs_one_type;
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    ReluForwardArgs args;
    args.elements = desc.outputs[0].elements();
    args.type = activation_type(desc);
    return args;
  };
  forward.bind = [](ReluForwardArgs& args, const RunArgs& run) {
    args.x = run.in[0];
    args.y = run.out[0];
  };
  add_kernel(registry, forward);

  KernelEntry<ReluBackwardArgs> backward;
  backward.name = "vector";
  backward.op = {OpKind::relu, Direction::backward};
  backward.launchers = QUERN_LAUNCHERS(relu_backward);
  backward.refusal = needs_one_type;
  backward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    ReluBackwardArgs args;
    args.elements = desc.outputs[0].elements();
    args.type = activation_type(desc);
    return args;
  };
  backward.bind = [](ReluBackwardArgs& args, const RunArgs& run) {
    args.dy = run.in[0];
    args.y = run.in[1];
    args.dx = run.out[0];
  };
  add_kernel(registry, backward);
}

}  // namespace quern
