#include "kernels/conv2d.cuh"

#include <fmt/format.h>

#include <algorithm>

#include "providers/custom/products.hpp"

namespace quern {

using namespace kernels;

namespace {

Conv2dShape shape_of(const OpDesc& desc) {
  const auto& attrs = desc.as<Conv2dAttrs>();
  const bool data = desc.op.direction == Direction::backward_data,
             forward = desc.op.direction == Direction::forward;
  // x, or the dataset that it is gathered from, whose images are as many as they like.
  const Shape& x = forward ? desc.inputs[0].shape : data ? desc.outputs[0].shape : desc.inputs[1].shape;
  const Shape& y = forward ? desc.outputs[0].shape : desc.inputs[0].shape;
  Conv2dShape s;
  s.n = static_cast<int>(y[0]);
  s.h = static_cast<int>(x[1]);
  s.w = static_cast<int>(x[2]);
  s.c = static_cast<int>(x[3]);
  s.p = static_cast<int>(y[1]);
  s.q = static_cast<int>(y[2]);
  s.k = static_cast<int>(y[3]);
  s.r = attrs.window.r;
  s.s = attrs.window.s;
  s.stride_h = attrs.window.stride_h;
  s.stride_w = attrs.window.stride_w;
  s.pad_top = attrs.window.pad_top;
  s.pad_left = attrs.window.pad_left;
  s.dilation_h = attrs.dilation_h;
  s.dilation_w = attrs.dilation_w;
  s.groups = attrs.groups;
  return s;
}

/// Why the direct kernels do not serve `desc`: they keep `shared` bytes of weights in shared memory.
Refusal refuse_direct(const OpDesc& desc, std::size_t shared) {
  constexpr std::size_t kSharedLimit = 48 * 1024;
  const Conv2dShape s = shape_of(desc);
  if (s.groups != 1) return fmt::format("needs groups = 1, got {}", s.groups);
  if (s.c > kDirectMaxChannels)
    return fmt::format("needs at most {} input channels, got {}", kDirectMaxChannels, s.c);
  if (shared > kSharedLimit) return fmt::format("needs weights of 48 KiB or less, got {} KiB", shared / 1024);
  if (!common_activation_type(desc)) return "needs activations of one type";
  return refuse_size(desc);
}

template <class Args>
KernelEntry<Args> direct_entry(Direction direction, Args (*args_of)(const OpDesc&, const Conv2dShape&)) {
  KernelEntry<Args> entry;
  entry.name = "direct_small_c";
  entry.merges = true;
  entry.op = {OpKind::conv2d, direction};
  entry.plan = [=](const OpDesc& desc, const DeviceInfo&) { return args_of(desc, shape_of(desc)); };
  entry.bind = [](Args& args, const RunArgs& run) { bind(args, run); };
  return entry;
}

void add_direct(Registry& registry) {
  auto forward = direct_entry(Direction::forward, forward_args);
  forward.launchers = QUERN_LAUNCHERS(conv2d_forward_direct);
  forward.refusal = [](const OpDesc& desc, const DeviceInfo&) {
    return refuse_direct(desc, conv2d_forward_direct_shared(shape_of(desc)));
  };
  forward.workspace = conv2d_forward_direct_workspace;
  forward.counters = conv2d_forward_direct_counters;
  add_kernel(registry, forward);

  auto data = direct_entry(Direction::backward_data, backward_data_args);
  data.launchers = QUERN_LAUNCHERS(conv2d_backward_data_direct);
  data.refusal = [](const OpDesc& desc, const DeviceInfo&) {
    return refuse_direct(desc, conv2d_backward_data_direct_shared(shape_of(desc)));
  };
  add_kernel(registry, data);

  auto weights = direct_entry(Direction::backward_weights, backward_weights_args);
  weights.launchers = QUERN_LAUNCHERS(conv2d_backward_weights_direct);
  weights.refusal = [](const OpDesc& desc, const DeviceInfo&) -> Refusal {
    if (Refusal refusal = refuse_direct(desc, 0)) return refusal;
    if (!conv2d_direct_unrolled(shape_of(desc)))
      return "needs 3x3 of 1 or 3 channels or 5x5 of 1, at stride and dilation 1: its sums are registers";
    return {};
  };
  weights.plan = [](const OpDesc& desc, const DeviceInfo& device) {
    auto args = backward_weights_args(desc, shape_of(desc));
    // Two blocks a multiprocessor keep enough loads under way; more would only add parts to merge.
    const std::int64_t blocks = std::max(1, 2 * device.multiprocessors);
    args.plan.splits = static_cast<int>(std::min(direct_pixel_tiles(args.shape), blocks));
    return args;
  };
  weights.workspace = conv2d_backward_weights_direct_workspace;
  weights.counters = conv2d_backward_weights_direct_counters;
  add_kernel(registry, weights);
}

}  // namespace

void add_conv2d(Registry& registry) {
  add_direct(registry);
  add_products(registry, OpKind::conv2d, shape_of);
}

}  // namespace quern
