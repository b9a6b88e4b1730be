#pragma once

/// What convolution and dense layers share as implementations: both are implicit matrix products.

#include "kernels/conv2d.cuh"
#include "providers/custom/kernel_entry.hpp"

namespace quern {

/// The entries of one direction differ in their arithmetic.
enum class Arithmetic : std::uint8_t { fp32, tf32, bf16 };

/// Elements of an activation in 16 bytes.
constexpr int chunk_of(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::bf16 ? 8 : 4;
}

/// Why an implicit product of this arithmetic does not serve `desc`, but for what depends on a convolution's
/// geometry.
Refusal refuse_product(const OpDesc& desc, const DeviceInfo& device, Arithmetic arithmetic);

/// Why no implicit product serves a convolution of this geometry.
Refusal refuse_geometry(const kernels::Conv2dShape& shape);

kernels::GemmPlan plan_product(const kernels::GemmProblem& problem, const DeviceInfo& device,
                               Arithmetic arithmetic);

inline bool is_bf16(const TensorDesc& tensor) {
  return tensor.dtype == DType::bf16;
}

// Arguments of every direction but for plans and addresses; `shape` is that of a convolution, or of a dense
// layer as one. Slots are those of quern/op.hpp, which conv2d and dense have in common.

template <class Attrs>
kernels::Conv2dForwardArgs forward_args(const OpDesc& desc, const kernels::Conv2dShape& shape) {
  kernels::Conv2dForwardArgs args;
  args.shape = shape;
  args.relu = desc.as<Attrs>().relu;
  args.with_stats = desc.as<Attrs>().stats;
  args.x_bf16 = is_bf16(desc.inputs[0]);
  args.y_bf16 = is_bf16(desc.outputs[0]);
  return args;
}
template <class Attrs>
kernels::Conv2dBackwardDataArgs backward_data_args(const OpDesc& desc, const kernels::Conv2dShape& shape) {
  kernels::Conv2dBackwardDataArgs args;
  args.shape = shape;
  args.dy_bf16 = is_bf16(desc.inputs[0]);
  args.dx_bf16 = is_bf16(desc.outputs[0]);
  args.x_bf16 = desc.as<Attrs>().mask && is_bf16(desc.inputs[2]);
  return args;
}
template <class Attrs>
kernels::Conv2dBackwardWeightsArgs backward_weights_args(const OpDesc& desc,
                                                         const kernels::Conv2dShape& shape) {
  kernels::Conv2dBackwardWeightsArgs args;
  args.shape = shape;
  args.with_bias = desc.as<Attrs>().bias;
  args.dy_bf16 = is_bf16(desc.inputs[0]);
  args.x_bf16 = is_bf16(desc.inputs[1]);
  return args;
}

// Addresses. Slots that the attributes leave out are not in the lists.

inline void bind_forward(kernels::Conv2dForwardArgs& args, const RunArgs& run) {
  args.x = run.in[0];
  args.w = input<float>(run, 1);
  args.bias = run.in.size() > 2 ? input<float>(run, 2) : nullptr;
  args.y = run.out[0];
  args.stats = args.with_stats ? output<float>(run, 1) : nullptr;
  args.workspace = static_cast<float*>(run.workspace);
}
inline void bind_backward_data(kernels::Conv2dBackwardDataArgs& args, const RunArgs& run) {
  args.dy = run.in[0];
  args.w = input<float>(run, 1);
  args.x = run.in.size() > 2 ? run.in[2] : nullptr;
  args.dx = run.out[0];
  args.workspace = static_cast<float*>(run.workspace);
}
inline void bind_backward_weights(kernels::Conv2dBackwardWeightsArgs& args, const RunArgs& run) {
  args.dy = run.in[0];
  args.x = run.in[1];
  args.dw = output<float>(run, 0);
  args.dbias = args.with_bias ? output<float>(run, 1) : nullptr;
  args.workspace = static_cast<float*>(run.workspace);
}

/// Makes an entry for an implicit product: `shape_of` gives its geometry, `args_of` its arguments,
/// `problem_of` its sizes.
template <class Args, class ShapeOf, class ArgsOf, class ProblemOf>
KernelEntry<Args> product_entry(OpKey op, const char* name, Arithmetic arithmetic, Launchers<Args> launchers,
                                ShapeOf shape_of, ArgsOf args_of, ProblemOf problem_of) {
  KernelEntry<Args> entry;
  entry.name = name;
  entry.op = op;
  entry.launchers = launchers;
  entry.refusal = [=](const OpDesc& desc, const DeviceInfo& device) -> Refusal {
    if (Refusal refusal = refuse_product(desc, device, arithmetic)) return refusal;
    return refuse_geometry(shape_of(desc));
  };
  entry.plan = [=](const OpDesc& desc, const DeviceInfo& device) {
    const kernels::Conv2dShape shape = shape_of(desc);
    Args args = args_of(desc, shape);
    args.plan = plan_product(problem_of(shape, chunk_of(arithmetic)), device, arithmetic);
    return args;
  };
  return entry;
}

}  // namespace quern
