#include "kernels/softmax_xent.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_softmax_xent(Registry& registry) {
  using kernels::SoftmaxXentArgs;

  KernelEntry<SoftmaxXentArgs> forward;
  forward.name = "warp_rows";
  forward.op = {OpKind::softmax_xent, Direction::forward};
  forward.exact = false;
  forward.merges = true;
  forward.launchers = QUERN_LAUNCHERS(softmax_xent_forward);
  forward.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal{}; };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    const auto& attrs = desc.as<SoftmaxXentAttrs>();
    SoftmaxXentArgs args;
    args.rows = static_cast<int>(desc.inputs[0].shape[0]);
    args.classes = static_cast<int>(desc.inputs[0].shape[1]);
    args.logits_bf16 = desc.inputs[0].dtype == DType::bf16;
    args.dlogits_bf16 = attrs.gradient && desc.outputs[1].dtype == DType::bf16;
    args.label_smoothing = attrs.label_smoothing;
    args.gradient_scale = attrs.gradient_scale;
    args.with_gradient = attrs.gradient;
    args.with_metrics = attrs.metrics;
    args.gather = attrs.gather;
    return args;
  };
  forward.bind = [](SoftmaxXentArgs& args, const RunArgs& run) {
    args.logits = run.in[0];
    if (args.gather)
      args.dataset = dataset(run, 1);
    else
      args.labels = input<std::int32_t>(run, 1);
    args.loss = output<float>(run, 0);
    args.dlogits = args.with_gradient ? run.out[1] : nullptr;
    args.before = args.with_metrics ? input<Metrics>(run, args.gather ? 4 : 2) : nullptr;
    args.after = args.with_metrics ? output<Metrics>(run, args.with_gradient ? 2 : 1) : nullptr;
    args.workspace = run.workspace;
  };
  forward.workspace = kernels::softmax_xent_workspace;
  forward.counters = [](const SoftmaxXentArgs& args) { return std::size_t{args.with_metrics ? 1u : 0u}; };
  add_kernel(registry, forward);
}

}  // namespace quern
