#include "check/operands.hpp"

#include <bit>
#include <cmath>

#include "ops/slots.hpp"

namespace quern::check {

double HostTensor::value(std::size_t i) const {
  switch (desc.dtype) {
    case DType::f32:
      return static_cast<double>(as<float>()[i]);
    case DType::bf16:
      return static_cast<double>(from_bf16(as<std::uint16_t>()[i]));
    case DType::f64:
      return as<double>()[i];
    case DType::i32:
      return as<std::int32_t>()[i];
    case DType::u32:
      return as<std::uint32_t>()[i];
    case DType::u8:
      break;
  }
  return as<std::uint8_t>()[i];
}

std::uint16_t to_bf16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

float from_bf16(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

HostTensor converted(const HostTensor& tensor, DType dtype) {
  if (tensor.desc.dtype == dtype) return tensor;
  HostTensor result(TensorDesc{dtype, tensor.desc.shape});
  const auto n = static_cast<std::size_t>(tensor.elements());
  if (dtype == DType::bf16) {
    for (std::size_t i = 0; i < n; ++i) result.as<std::uint16_t>()[i] = to_bf16(tensor.as<float>()[i]);
  } else {
    for (std::size_t i = 0; i < n; ++i) result.as<float>()[i] = from_bf16(tensor.as<std::uint16_t>()[i]);
  }
  return result;
}

int SlotNames::input(std::string_view name) const noexcept {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i] == name) return static_cast<int>(i);
  return -1;
}

int SlotNames::output(std::string_view name) const noexcept {
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].name == name) return static_cast<int>(i);
  return -1;
}

SlotNames slot_names(const OpDesc& desc) {
  const SlotLists lists = slots_of(desc);
  SlotNames names;
  for (const Slot& slot : lists.inputs) names.inputs.emplace_back(slot.name);
  // In place is what stands on both sides under one name: op.hpp gives that name to nothing else.
  for (const Slot& slot : lists.outputs) names.outputs.push_back({slot.name, names.input(slot.name)});
  return names;
}

std::span<const int> overwritable_inputs(OpKey op) noexcept {
  static constexpr int kFirst[] = {0};
  static constexpr int kBoth[] = {0, 1};
  switch (op.kind) {
    case OpKind::relu:
    case OpKind::dropout:
      return kFirst;
    case OpKind::add:
      return kBoth;
    default:
      return {};
  }
}

}  // namespace quern::check
