#include "kernels/conv2d.cuh"

#include "providers/custom/products.hpp"

namespace quern {

namespace {

using namespace kernels;

Conv2dShape shape_of(const OpDesc& desc) {
  const auto& attrs = desc.as<Conv2dAttrs>();
  const bool forward = desc.op.direction == Direction::forward,
             data = desc.op.direction == Direction::backward_data;
  const Shape& x = forward ? desc.inputs[0].shape : data ? desc.outputs[0].shape : desc.inputs[1].shape;
  const Shape& y = forward ? desc.outputs[0].shape : desc.inputs[0].shape;
  Conv2dShape s;
  s.n = static_cast<int>(x[0]);
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

/// The kernel that serves everything.
template <class Args, class ArgsOf>
KernelEntry<Args> general_entry(OpKey op, Launchers<Args> launchers, ArgsOf args_of,
                                void (*bind)(Args&, const RunArgs&)) {
  KernelEntry<Args> entry;
  entry.name = "general";
  entry.op = op;
  entry.launchers = launchers;
  entry.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal(); };
  entry.plan = [=](const OpDesc& desc, const DeviceInfo&) { return args_of(desc, shape_of(desc)); };
  entry.bind = bind;
  return entry;
}

void add_forward(Registry& registry) {
  constexpr OpKey kOp{OpKind::conv2d, Direction::forward};
  const auto add = [&](const char* name, Arithmetic arithmetic, Launchers<Conv2dForwardArgs> launchers) {
    auto entry = product_entry(kOp, name, arithmetic, launchers, shape_of, forward_args<Conv2dAttrs>,
                               conv2d_forward_problem);
    entry.bind = bind_forward;
    entry.workspace = conv2d_forward_workspace;
    entry.counters = conv2d_forward_counters;
    add_kernel(registry, entry);
  };
  add("implicit_gemm_bf16", Arithmetic::bf16, QUERN_LAUNCHERS(conv2d_forward_bf16));
  add("implicit_gemm_tf32", Arithmetic::tf32, QUERN_LAUNCHERS(conv2d_forward_tf32));
  add("implicit_gemm_fp32", Arithmetic::fp32, QUERN_LAUNCHERS(conv2d_forward_fp32));
  add_kernel(registry, general_entry(kOp, QUERN_LAUNCHERS(conv2d_forward_general), forward_args<Conv2dAttrs>,
                                     bind_forward));
}

void add_backward_data(Registry& registry) {
  constexpr OpKey kOp{OpKind::conv2d, Direction::backward_data};
  const auto add = [&](const char* name, Arithmetic arithmetic, Launchers<Conv2dBackwardDataArgs> launchers) {
    auto entry = product_entry(kOp, name, arithmetic, launchers, shape_of, backward_data_args<Conv2dAttrs>,
                               conv2d_backward_data_problem);
    entry.bind = bind_backward_data;
    entry.workspace = conv2d_backward_data_workspace;
    entry.counters = conv2d_backward_data_counters;
    add_kernel(registry, entry);
  };
  add("implicit_gemm_bf16", Arithmetic::bf16, QUERN_LAUNCHERS(conv2d_backward_data_bf16));
  add("implicit_gemm_tf32", Arithmetic::tf32, QUERN_LAUNCHERS(conv2d_backward_data_tf32));
  add("implicit_gemm_fp32", Arithmetic::fp32, QUERN_LAUNCHERS(conv2d_backward_data_fp32));
  add_kernel(registry, general_entry(kOp, QUERN_LAUNCHERS(conv2d_backward_data_general),
                                     backward_data_args<Conv2dAttrs>, bind_backward_data));
}

void add_backward_weights(Registry& registry) {
  constexpr OpKey kOp{OpKind::conv2d, Direction::backward_weights};
  const auto add = [&](const char* name, Arithmetic arithmetic,
                       Launchers<Conv2dBackwardWeightsArgs> launchers) {
    auto entry = product_entry(kOp, name, arithmetic, launchers, shape_of, backward_weights_args<Conv2dAttrs>,
                               conv2d_backward_weights_problem);
    entry.bind = bind_backward_weights;
    entry.workspace = conv2d_backward_weights_workspace;
    entry.counters = conv2d_backward_weights_counters;
    add_kernel(registry, entry);
  };
  add("implicit_gemm_bf16", Arithmetic::bf16, QUERN_LAUNCHERS(conv2d_backward_weights_bf16));
  add("implicit_gemm_tf32", Arithmetic::tf32, QUERN_LAUNCHERS(conv2d_backward_weights_tf32));
  add("implicit_gemm_fp32", Arithmetic::fp32, QUERN_LAUNCHERS(conv2d_backward_weights_fp32));
  add_kernel(registry, general_entry(kOp, QUERN_LAUNCHERS(conv2d_backward_weights_general),
                                     backward_weights_args<Conv2dAttrs>, bind_backward_weights));
}

}  // namespace

void add_conv2d(Registry& registry) {
  add_forward(registry);
  add_backward_data(registry);
  add_backward_weights(registry);
}

}  // namespace quern
