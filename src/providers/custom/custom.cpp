// The hand-tuned kernels as implementations. Inside an operation, the order of the calls in each file is
// preference.

#include "ops/slots.hpp"
#include "providers/custom/kernel_entry.hpp"

namespace quern {

namespace {

/// The types of all activations, inputs first.
std::vector<DType> activation_types(const OpDesc& desc) {
  const SlotLists slots = slots_of(desc);
  std::vector<DType> types;
  for (std::size_t i = 0; i < slots.inputs.size(); ++i)
    if (slots.inputs[i].type == SlotType::activation) types.push_back(desc.inputs[i].dtype);
  for (std::size_t i = 0; i < slots.outputs.size(); ++i)
    if (slots.outputs[i].type == SlotType::activation) types.push_back(desc.outputs[i].dtype);
  return types;
}

}  // namespace

DType activation_type(const OpDesc& desc) {
  return activation_types(desc).at(0);
}

Refusal needs_one_type(const OpDesc& desc, const DeviceInfo&) {
  const std::vector<DType> types = activation_types(desc);
  for (const DType type : types)
    if (type != types[0])
      return fmt::format("needs activations of one type, got {} and {}", to_string(types[0]),
                         to_string(type));
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
  add_guard(registry);
  add_input_batch(registry);
  add_maxpool2d(registry);
  add_metrics(registry);
  add_optimizer(registry);
  add_relu(registry);
  add_softmax_xent(registry);
  // What the products of one launch refuse: groups, mixtures of types.
  add_backward_pairs(registry, Provider::custom, DeviceKind::emu);
  add_backward_pairs(registry, Provider::custom, DeviceKind::cuda);
}

}  // namespace quern
