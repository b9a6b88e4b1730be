#pragma once

/// Operands in host memory, and which of an operation's outputs are written over an input.

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/op.hpp"

namespace quern::check {

/// A tensor's bytes on the host, typed by its description.
struct HostTensor {
  TensorDesc desc;
  std::vector<std::byte> bytes;

  HostTensor() = default;
  explicit HostTensor(const TensorDesc& d) : desc(d), bytes(d.bytes()) {}

  /// The elements. Only the type that `desc` names, or `std::uint8_t` and StepScalars for raw bytes.
  template <class T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  template <class T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  std::int64_t elements() const noexcept { return desc.elements(); }
  /// Element `i` of a tensor of any type, as a double (every f32, bf16, i32, u32 and u8 is one).
  double value(std::size_t i) const;
  bool same_bytes(const HostTensor& other) const noexcept { return bytes == other.bytes; }
};

/// The operands of one side, in slot order.
using Operands = std::vector<HostTensor>;

/// bf16 by rounding to nearest, ties to even; NaN stays NaN.
std::uint16_t to_bf16(float value) noexcept;
float from_bf16(std::uint16_t bits) noexcept;

/// The same values as another floating-point type (f32 <-> bf16); other types are only copied.
HostTensor converted(const HostTensor& tensor, DType dtype);

/// Names of an operation's operands and which outputs share an input's buffer.
struct SlotNames {
  struct Output {
    std::string_view name;
    int in_place = -1;  ///< index of the input whose buffer it is, or -1
  };
  std::vector<std::string_view> inputs;
  std::vector<Output> outputs;

  /// Index of the operand of this name, -1 when the attributes leave it out.
  int input(std::string_view name) const noexcept;
  int output(std::string_view name) const noexcept;
};
SlotNames slot_names(const OpDesc& desc);

/// Element-wise operations may be run with output 0 written over one of these inputs: that is what the
/// graph's in-place pass does, so every candidate is run that way too.
std::span<const int> overwritable_inputs(OpKey op) noexcept;

}  // namespace quern::check
