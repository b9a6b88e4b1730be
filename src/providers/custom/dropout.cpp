#include "kernels/dropout.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_dropout(Registry& registry) {
  using kernels::DropoutArgs;

  // One function both ways: the same element is dropped, the others are scaled alike.
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    KernelEntry<DropoutArgs> entry;
    entry.name = "philox4";
    entry.op = {OpKind::dropout, direction};
    entry.launchers = QUERN_LAUNCHERS(dropout_apply);
    entry.refusal = needs_one_type;
    entry.plan = [](const OpDesc& desc, const DeviceInfo&) {
      const auto& attrs = desc.as<DropoutAttrs>();
      DropoutArgs args;
      args.elements = desc.outputs[0].elements();
      args.probability = attrs.probability;
      args.stream = attrs.stream;
      args.type = activation_type(desc);
      return args;
    };
    entry.bind = [](DropoutArgs& args, const RunArgs& run) {
      args.from = run.in[0];
      args.step = input<StepScalars>(run, 1);
      args.to = run.out[0];
    };
    add_kernel(registry, entry);
  }
}

}  // namespace quern
