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
  forward.name = "block_a_sample";
  forward.op = {OpKind::global_avgpool, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(global_avgpool_forward);
  forward.refusal = [](const OpDesc& desc, const DeviceInfo&) -> Refusal {
    if (desc.inputs[0].dtype == DType::f32 && desc.outputs[0].dtype == DType::bf16)
      return "makes no bf16 of f32";
    return {};
  };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    auto args = sized<GlobalAvgPoolForwardArgs>(desc.inputs[0].shape);
    args.x_type = desc.inputs[0].dtype;
    args.y_type = desc.outputs[0].dtype;
    return args;
  };
  forward.bind = [](GlobalAvgPoolForwardArgs& args, const RunArgs& run) {
    args.x = run.in[0];
    args.y = run.out[0];
  };
  add_kernel(registry, forward);

  KernelEntry<GlobalAvgPoolBackwardArgs> backward;
  backward.name = "vector";
  backward.op = {OpKind::global_avgpool, Direction::backward};
  backward.launchers = QUERN_LAUNCHERS(global_avgpool_backward);
  backward.refusal = needs_one_type;
  backward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    auto args = sized<GlobalAvgPoolBackwardArgs>(desc.outputs[0].shape);
    args.type = activation_type(desc);
    return args;
  };
  backward.bind = [](GlobalAvgPoolBackwardArgs& args, const RunArgs& run) {
    args.dy = run.in[0];
    args.x = run.in.size() > 1 ? run.in[1] : nullptr;
    args.dx = run.out[0];
  };
  add_kernel(registry, backward);
}

}  // namespace quern
