// The hand-tuned kernels as implementations. Inside an operation, the order of the calls in each file is
// preference.

#include "providers/custom/kernel_entry.hpp"

namespace quern {

Refusal needs_f32(const OpDesc& desc) {
  const auto other = [](const TensorDesc& tensor) { return tensor.dtype != DType::f32; };
  for (const TensorDesc& tensor : desc.inputs)
    if (other(tensor)) return fmt::format("needs f32 operands, got {}", to_string(tensor));
  for (const TensorDesc& tensor : desc.outputs)
    if (other(tensor)) return fmt::format("needs f32 operands, got {}", to_string(tensor));
  return {};
}

void add_custom(Registry& registry) {
  add_add(registry);
  add_avgpool2d(registry);
  add_batchnorm(registry);
  add_conv2d(registry);
  add_dense(registry);
  add_dropout(registry);
  add_ema(registry);
  add_global_avgpool(registry);
  add_input_batch(registry);
  add_maxpool2d(registry);
  add_metrics(registry);
  add_optimizer(registry);
  add_relu(registry);
  add_softmax_xent(registry);
}

}  // namespace quern
