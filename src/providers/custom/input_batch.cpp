#include "kernels/input_batch.cuh"

#include "providers/custom/kernel_entry.hpp"

namespace quern {

void add_input_batch(Registry& registry) {
  using kernels::InputBatchArgs;

  KernelEntry<InputBatchArgs> forward;
  forward.name = "block_a_sample";
  forward.op = {OpKind::input_batch, Direction::forward};
  forward.launchers = QUERN_LAUNCHERS(input_batch_forward);
  forward.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal{}; };
  forward.plan = [](const OpDesc& desc, const DeviceInfo&) {
    const auto& attrs = desc.as<InputBatchAttrs>();
    const Shape& x = desc.outputs[0].shape;
    InputBatchArgs args;
    args.batch = static_cast<int>(x[0]);
    args.height = static_cast<int>(x[1]);
    args.width = static_cast<int>(x[2]);
    args.channels = static_cast<int>(x[3]);
    args.type = desc.outputs[0].dtype;
    args.mean = attrs.mean;
    args.stddev = attrs.stddev;
    args.augment = attrs.augment.enabled();
    args.shift = attrs.augment.shift;
    args.rotate = attrs.augment.rotate;
    args.scale = attrs.augment.scale;
    args.shear = attrs.augment.shear;
    args.elastic = attrs.augment.elastic;
    args.erase = attrs.augment.erase;
    args.flip = attrs.augment.flip;
    args.crop = attrs.augment.crop;
    return args;
  };
  forward.bind = [](InputBatchArgs& args, const RunArgs& run) {
    args.images = input<std::uint8_t>(run, 0);
    args.labels = input<std::uint8_t>(run, 1);
    args.order = input<std::uint32_t>(run, 2);
    args.step = input<StepScalars>(run, 3);
    args.x = run.out[0];
    args.y = output<std::int32_t>(run, 1);
  };
  add_kernel(registry, forward);
}

}  // namespace quern
