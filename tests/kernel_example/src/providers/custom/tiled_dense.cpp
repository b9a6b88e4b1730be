#include "kernels/tiled_dense.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_tiled_dense(Registry& registry) {
  using kernels::TiledDenseArgs;

  KernelEntry<TiledDenseArgs> entry;
  entry.name = "tiled";
  entry.op = {OpKind::dense, Direction::forward};
  entry.launchers = QUERN_LAUNCHERS(tiled_dense);
  entry.refusal = [](const OpDesc& desc, const DeviceInfo&) -> Refusal {
    if (desc.as<DenseAttrs>().stats) return "writes no statistics";
    if (desc.precision != Precision::fp32) return "computes in fp32 only";
    return {};
  };
  entry.plan = [](const OpDesc& desc, const DeviceInfo&) {
    TiledDenseArgs args;
    args.batch = static_cast<int>(desc.inputs[0].shape[0]);
    args.inputs = static_cast<int>(desc.inputs[0].shape[1]);
    args.outputs = static_cast<int>(desc.inputs[1].shape[0]);
    args.relu = desc.as<DenseAttrs>().relu;
    return args;
  };
  entry.bind = [](TiledDenseArgs& args, const RunArgs& run) {
    args.x = input<float>(run, 0);
    args.w = input<float>(run, 1);
    args.bias = run.in.size() > 2 ? input<float>(run, 2) : nullptr;
    args.y = output<float>(run, 0);
  };
  add_kernel(registry, entry);
}

}  // namespace quern
