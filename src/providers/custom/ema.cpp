#include "kernels/ema.cuh"

#include "providers/custom/advance.hpp"
#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_ema(Registry& registry) {
  using kernels::EmaForwardArgs;

  KernelEntry<EmaForwardArgs> forward;
  forward.name = "vec4";
  forward.op = {OpKind::ema, Direction::forward};
  forward.exact = false;
  forward.launchers = QUERN_LAUNCHERS(ema_forward);
  forward.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal{}; };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    EmaForwardArgs args;
    args.attrs = desc.as<EmaAttrs>();
    args.elements = desc.inputs[1].elements();
    args.advance.count = advance_count(args.attrs.advance, desc);
    return args;
  };
  forward.bind = [](EmaForwardArgs& args, const RunArgs& run) {
    args.step = input<StepScalars>(run, 0);
    args.values = input<float>(run, 1);
    args.average = input<float>(run, 2);
    args.updated = output<float>(run, 0);
    if (args.attrs.guarded) args.guard = input<StepGuard>(run, 3);
    bind_advance(args.advance, run);
  };
  forward.counters = [](const EmaForwardArgs& args) -> std::size_t { return args.attrs.advance ? 1 : 0; };
  add_kernel(registry, forward);
}

}  // namespace quern
