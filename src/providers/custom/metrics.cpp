#include "kernels/metrics.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_metrics(Registry& registry) {
  using kernels::MetricsArgs;

  KernelEntry<MetricsArgs> forward;
  forward.name = "one_block";
  forward.op = {OpKind::metrics, Direction::forward};
  forward.exact = false;
  forward.launchers = QUERN_LAUNCHERS(metrics_forward);
  forward.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal{}; };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    MetricsArgs args;
    args.rows = static_cast<int>(desc.inputs[1].shape[0]);
    args.classes = static_cast<int>(desc.inputs[1].shape[1]);
    args.logits_bf16 = desc.inputs[1].dtype == DType::bf16;
    return args;
  };
  forward.bind = [](MetricsArgs& args, const RunArgs& run) {
    args.loss = input<float>(run, 0);
    args.logits = run.in[1];
    args.labels = input<std::int32_t>(run, 2);
    args.before = input<Metrics>(run, 3);
    args.after = output<Metrics>(run, 0);
  };
  add_kernel(registry, forward);
}

}  // namespace quern
