#include "kernels/batchnorm.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {
namespace {

using kernels::BatchNormBackwardArgs;
using kernels::BatchNormForwardArgs;

std::int64_t rows_of(const Shape& x) {
  return x.elements() / x[x.rank() - 1];
}
int channels_of(const Shape& x) {
  return static_cast<int>(x[x.rank() - 1]);
}

BatchNormForwardArgs plan_forward(const OpDesc& desc, const DeviceInfo&) {
  const auto& attrs = desc.as<BatchNormAttrs>();
  const Shape& x = desc.inputs[0].shape;
  BatchNormForwardArgs args;
  args.rows = rows_of(x);
  args.channels = channels_of(x);
  args.type = activation_type(desc);
  args.momentum = attrs.momentum;
  args.epsilon = attrs.epsilon;
  args.relu = attrs.relu;
  args.pool = attrs.pool;
  if (attrs.pool) args.window = kernels::pool_window(attrs.window, x, desc.outputs[0].shape);
  return args;
}

void bind_common(BatchNormForwardArgs& args, const RunArgs& run) {
  args.x = run.in[0];
  args.gamma = input<float>(run, 1);
  args.beta = input<float>(run, 2);
  args.running_mean = input<float>(run, 3);
  args.running_var = input<float>(run, 4);
  args.y = run.out[0];
}

}  // namespace

void add_batchnorm(Registry& registry) {
  KernelEntry<BatchNormForwardArgs> forward;
  forward.name = "channels";
  forward.op = {OpKind::batchnorm, Direction::forward};
  forward.exact = false;
  forward.launchers = QUERN_LAUNCHERS(batchnorm_forward);
  forward.refusal = needs_one_type;
  forward.plan = plan_forward;
  forward.bind = [](BatchNormForwardArgs& args, const RunArgs& run) {
    bind_common(args, run);
    args.stats = run.in.size() > 5 ? input<float>(run, 5) : nullptr;
    args.saved = output<float>(run, 1);
    args.new_running_mean = output<float>(run, 2);
    args.new_running_var = output<float>(run, 3);
    args.argmax = args.pool ? output<std::uint8_t>(run, 4) : nullptr;
    args.workspace = static_cast<float*>(run.workspace);
  };
  forward.launches = [](const OpDesc& desc) { return desc.as<BatchNormAttrs>().stats ? 1 : 3; };
  forward.workspace = [](const BatchNormForwardArgs& args) {
    return kernels::batchnorm_workspace(args.rows, args.channels, args.type);
  };
  add_kernel(registry, forward);

  KernelEntry<BatchNormForwardArgs> inference = forward;
  inference.op = {OpKind::batchnorm, Direction::inference};
  inference.bind = bind_common;
  inference.workspace = {};
  inference.launches = {};
  add_kernel(registry, inference);

  KernelEntry<BatchNormBackwardArgs> backward;
  backward.name = "channels";
  backward.op = {OpKind::batchnorm, Direction::backward};
  backward.exact = false;
  backward.launchers = QUERN_LAUNCHERS(batchnorm_backward);
  backward.refusal = needs_one_type;
  backward.plan = [](const OpDesc& desc, const DeviceInfo& device) {
    const auto& attrs = desc.as<BatchNormAttrs>();
    const Shape& x = desc.inputs[1].shape;
    BatchNormBackwardArgs args;
    args.rows = rows_of(x);
    args.channels = channels_of(x);
    args.type = activation_type(desc);
    args.relu = attrs.relu;
    args.mask = attrs.mask;
    args.pool = attrs.pool;
    if (attrs.pool) args.window = kernels::pool_window(attrs.window, x, desc.inputs[0].shape);
    args.multiprocessors = std::max(1, device.multiprocessors);
    return args;
  };
  backward.bind = [](BatchNormBackwardArgs& args, const RunArgs& run) {
    args.dy = run.in[0];
    args.x = run.in[1];
    args.gamma = input<float>(run, 2);
    args.saved = input<float>(run, 3);
    std::size_t slot = 4;
    args.y = args.relu ? run.in[slot++] : nullptr;
    args.argmax = args.pool ? input<std::uint8_t>(run, slot++) : nullptr;
    args.dx = run.out[0];
    args.dgamma = output<float>(run, 1);
    args.dbeta = output<float>(run, 2);
    args.workspace = static_cast<float*>(run.workspace);
  };
  backward.counters = [](const BatchNormBackwardArgs&) { return std::size_t{1}; };
  // Sized for the rows of x; the pooled gradient has fewer.
  backward.workspace = [](const BatchNormBackwardArgs& args) {
    return kernels::batchnorm_workspace(args.rows, args.channels, args.type);
  };
  add_kernel(registry, backward);
}

}  // namespace quern
