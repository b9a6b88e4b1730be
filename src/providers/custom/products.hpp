#pragma once

/// Convolution and dense layers as implementations: both are implicit matrix products, with the same slots,
/// kernels and arguments.

#include <optional>

#include "kernels/conv2d.cuh"
#include "providers/custom/kernel_entry.hpp"

namespace quern {

/// The geometry behind a description: of a convolution, or of a dense layer as one.
using ShapeOf = kernels::Conv2dShape (*)(const OpDesc&);

/// Adds the implicit products in bf16, tf32 and fp32 and, but for `backward`, the general kernel, in this
/// order, for all directions.
void add_products(Registry& registry, OpKind kind, ShapeOf shape_of);

/// The type that all activations of `desc` have; none where they differ.
std::optional<DType> common_activation_type(const OpDesc& desc);

/// Why kernels with 32-bit indices do not serve `desc`.
Refusal refuse_size(const OpDesc& desc);

// Arguments from a description, everything but plans and addresses.
kernels::Conv2dForwardArgs forward_args(const OpDesc& desc, const kernels::Conv2dShape& shape);
kernels::Conv2dBackwardDataArgs backward_data_args(const OpDesc& desc, const kernels::Conv2dShape& shape);
kernels::Conv2dBackwardWeightsArgs backward_weights_args(const OpDesc& desc,
                                                         const kernels::Conv2dShape& shape);

// Addresses, in the slot order of quern/op.hpp.
void bind(kernels::Conv2dForwardArgs& args, const RunArgs& run);
void bind(kernels::Conv2dBackwardDataArgs& args, const RunArgs& run);
void bind(kernels::Conv2dBackwardWeightsArgs& args, const RunArgs& run);

}  // namespace quern
