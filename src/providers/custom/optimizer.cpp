#include "kernels/optimizer.cuh"

#include "providers/custom/advance.hpp"
#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_optimizer(Registry& registry) {
  using kernels::OptimizerArgs;

  KernelEntry<OptimizerArgs> forward;
  forward.name = "multi_tensor";
  forward.op = {OpKind::optimizer, Direction::forward};
  forward.exact = false;
  forward.launchers = QUERN_LAUNCHERS(optimizer_forward);
  forward.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal{}; };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    OptimizerArgs args;
    args.attrs = desc.as<OptimizerAttrs>();
    args.advance.count = advance_count(args.attrs.advance, desc);
    return args;
  };
  // Parameters and slots are updated in place: inputs and outputs are the same buffers.
  forward.bind = [](OptimizerArgs& args, const RunArgs& run) {
    args.step = input<StepScalars>(run, 0);
    args.grads = input<float>(run, 1);
    args.params = output<float>(run, 0);
    const int slots = args.attrs.slots();
    args.slot1 = slots >= 1 ? output<float>(run, 1) : nullptr;
    args.slot2 = slots >= 2 ? output<float>(run, 2) : nullptr;
    if (args.attrs.guarded) args.guard = input<StepGuard>(run, 3 + static_cast<std::size_t>(slots));
    args.partial_norms = static_cast<double*>(run.workspace);
    bind_advance(args.advance, run);
  };
  // The norm is of all gradients, so that it is known before the first of them is used.
  forward.launches = [](const OpDesc& desc) { return desc.as<OptimizerAttrs>().clip_norm > 0 ? 2 : 1; };
  forward.counters = [](const OptimizerArgs& args) -> std::size_t { return args.attrs.advance ? 1 : 0; };
  forward.workspace = [](const OptimizerArgs& args) { return kernels::optimizer_workspace(args.attrs); };
  add_kernel(registry, forward);
}

}  // namespace quern
