#include "kernels/add.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_add(Registry& registry) {
  using kernels::AddForwardArgs;

  KernelEntry<AddForwardArgs> forward;
  forward.name = "vec4";
  forward.op = {OpKind::add, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(add_forward);
  forward.refusal = [](const OpDesc& desc, const DeviceInfo&) { return needs_f32(desc); };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    AddForwardArgs args;
    args.elements = desc.outputs[0].elements();
    args.relu = desc.as<AddAttrs>().relu;
    return args;
  };
  forward.bind = [](AddForwardArgs& args, const RunArgs& run) {
    args.a = input<float>(run, 0);
    args.b = input<float>(run, 1);
    args.y = output<float>(run, 0);
  };
  add_kernel(registry, forward);
}

}  // namespace quern
