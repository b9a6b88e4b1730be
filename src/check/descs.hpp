#pragma once

/// Descriptions of operations from their shapes and attributes, in fp32: the shapes that follow are worked
/// out.

#include "quern/op.hpp"

namespace quern::check {

/// An image batch [n,h,w,c] and, for convolutions, k output channels.
struct ImageShape {
  std::int64_t n = 1, h = 1, w = 1, c = 1, k = 1;
};

OpDesc input_batch_desc(const Shape& images, std::int64_t order_length, std::int64_t batch,
                        const InputBatchAttrs& attrs);
OpDesc conv2d_desc(Direction direction, const ImageShape& shape, const Conv2dAttrs& attrs);
OpDesc dense_desc(Direction direction, std::int64_t n, std::int64_t c, std::int64_t k,
                  const DenseAttrs& attrs);
OpDesc batchnorm_desc(Direction direction, const Shape& x, const BatchNormAttrs& attrs);
OpDesc relu_desc(Direction direction, const Shape& shape);
/// `kind` is maxpool2d or avgpool2d.
OpDesc pool2d_desc(OpKind kind, Direction direction, const Shape& x, const Pool2dAttrs& attrs);
OpDesc global_avgpool_desc(Direction direction, const Shape& x, const GlobalPoolAttrs& attrs);
OpDesc dropout_desc(Direction direction, const Shape& shape, const DropoutAttrs& attrs);
OpDesc add_desc(const Shape& shape, const AddAttrs& attrs);
OpDesc softmax_xent_desc(std::int64_t n, std::int64_t classes, const SoftmaxXentAttrs& attrs);
OpDesc metrics_desc(std::int64_t n, std::int64_t classes);
/// `statistics`: running statistics of the model; 0: it has none.
OpDesc guard_desc(std::int64_t n, std::int64_t elements, std::int64_t statistics);
/// `steps`: entries of the table, where the attributes say `advance`.
OpDesc optimizer_desc(std::int64_t elements, const OptimizerAttrs& attrs, std::int64_t steps = 1);
OpDesc ema_desc(std::int64_t elements, const EmaAttrs& attrs = {}, std::int64_t steps = 1);

/// The same operation in another precision: bf16 changes the types of activations.
OpDesc at_precision(const OpDesc& desc, Precision precision);
/// The same operation in fp32, with every bf16 operand as f32: what the oracle computes.
OpDesc in_fp32(const OpDesc& desc);

}  // namespace quern::check
