#include "kernels/dense.cuh"

#include "providers/custom/products.hpp"

namespace quern {

void add_dense(Registry& registry) {
  add_products(registry, OpKind::dense, [](const OpDesc& desc) {
    const bool data = desc.op.direction == Direction::backward_data,
               forward = desc.op.direction == Direction::forward;
    const Shape& x = forward ? desc.inputs[0].shape : data ? desc.outputs[0].shape : desc.inputs[1].shape;
    const Shape& y = forward ? desc.outputs[0].shape : desc.inputs[0].shape;
    return kernels::dense_shape(static_cast<int>(x[0]), static_cast<int>(x[1]), static_cast<int>(y[1]));
  });
}

}  // namespace quern
