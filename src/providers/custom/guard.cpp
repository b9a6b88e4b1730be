#include "kernels/guard.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_guard(Registry& registry) {
  using kernels::GuardArgs;

  KernelEntry<GuardArgs> forward;
  forward.name = "last_block";
  forward.op = {OpKind::guard, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(guard_forward);
  forward.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal{}; };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    GuardArgs args;
    args.rows = desc.inputs[0].elements();
    args.elements = desc.inputs[1].elements();
    args.statistics = desc.as<GuardAttrs>().statistics ? desc.inputs[5].elements() : 0;
    return args;
  };
  // All state is updated in place: inputs and outputs are the same buffers.
  forward.bind = [](GuardArgs& args, const RunArgs& run) {
    args.loss = input<float>(run, 0);
    args.grads = input<float>(run, 1);
    args.metrics = output<Metrics>(run, 0);
    args.kept_metrics = output<Metrics>(run, 1);
    args.guard = output<StepGuard>(run, 2);
    args.running = args.statistics > 0 ? output<float>(run, 3) : nullptr;
    args.kept_running = args.statistics > 0 ? output<float>(run, 4) : nullptr;
    args.verdicts = static_cast<int*>(run.workspace);
  };
  forward.workspace = [](const GuardArgs&) { return kernels::kGuardBlocks * sizeof(int); };
  forward.counters = [](const GuardArgs&) -> std::size_t { return 1; };
  add_kernel(registry, forward);
}

}  // namespace quern
