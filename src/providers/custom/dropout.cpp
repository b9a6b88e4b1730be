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
    entry.refusal = [](const OpDesc& desc, const DeviceInfo&) -> Refusal {
      if (desc.inputs[0].dtype != DType::f32)
        return fmt::format("needs f32 operands, got {}", to_string(desc.inputs[0]));
      return {};
    };
    entry.plan = [](const OpDesc& desc, const DeviceInfo&) {
      const auto& attrs = desc.as<DropoutAttrs>();
      DropoutArgs args;
      args.elements = desc.outputs[0].elements();
      args.probability = attrs.probability;
      args.stream = attrs.stream;
      return args;
    };
    entry.bind = [](DropoutArgs& args, const RunArgs& run) {
      args.from = input<float>(run, 0);
      args.step = input<StepScalars>(run, 1);
      args.to = output<float>(run, 0);
    };
    add_kernel(registry, entry);
  }
}

}  // namespace quern
