#include "kernels/global_avgpool.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {
namespace {

/// Extents from the shape of the image [N,H,W,C].
template <class Args>
Args sized(const Shape& image) {
  Args args;
  args.batch = static_cast<int>(image[0]);
  args.pixels = static_cast<int>(image[1] * image[2]);
  args.channels = static_cast<int>(image[3]);
  return args;
}

}  // namespace

void add_global_avgpool(Registry& registry) {
  using kernels::GlobalAvgPoolBackwardArgs;
  using kernels::GlobalAvgPoolForwardArgs;

  KernelEntry<GlobalAvgPoolForwardArgs> forward;
  forward.name = "warp_columns";
  forward.op = {OpKind::global_avgpool, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(global_avgpool_forward);
  forward.refusal = [](const OpDesc& desc, const DeviceInfo&) { return needs_f32(desc); };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    return sized<GlobalAvgPoolForwardArgs>(desc.inputs[0].shape);
  };
  forward.bind = [](GlobalAvgPoolForwardArgs& args, const RunArgs& run) {
    args.x = input<float>(run, 0);
    args.y = output<float>(run, 0);
  };
  add_kernel(registry, forward);

  KernelEntry<GlobalAvgPoolBackwardArgs> backward;
  backward.name = "elementwise";
  backward.op = {OpKind::global_avgpool, Direction::backward};
  backward.launchers = QUERN_LAUNCHERS(global_avgpool_backward);
  backward.refusal = [](const OpDesc& desc, const DeviceInfo&) { return needs_f32(desc); };
  backward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    return sized<GlobalAvgPoolBackwardArgs>(desc.outputs[0].shape);
  };
  backward.bind = [](GlobalAvgPoolBackwardArgs& args, const RunArgs& run) {
    args.dy = input<float>(run, 0);
    args.x = run.in.size() > 1 ? input<float>(run, 1) : nullptr;
    args.dx = output<float>(run, 0);
  };
  add_kernel(registry, backward);
}

}  // namespace quern
