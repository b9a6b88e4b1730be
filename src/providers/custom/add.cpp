#include "kernels/add.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_add(Registry& registry) {
  using kernels::AddForwardArgs;

  KernelEntry<AddForwardArgs> forward;
  forward.name = "vector";
  forward.op = {OpKind::add, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(add_forward);
  forward.refusal = needs_one_type;
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    AddForwardArgs args;
    args.elements = desc.outputs[0].elements();
    args.relu = desc.as<AddAttrs>().relu;
    args.type = activation_type(desc);
    return args;
  };
  forward.bind = [](AddForwardArgs& args, const RunArgs& run) {
    args.a = run.in[0];
    args.b = run.in[1];
    args.y = run.out[0];
  };
  add_kernel(registry, forward);
}

}  // namespace quern
