#pragma once

/// Shapes, element types and typed descriptions of tensors. No storage lives here: buffers belong to
/// devices, and views are (description, pointer) pairs.

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace quern {

enum class DType : std::uint8_t { f32, bf16, f64, i32, u32, u8 };

constexpr std::size_t size_of(DType type) noexcept {
  switch (type) {
    case DType::f64:
      return 8;
    case DType::f32:
    case DType::i32:
    case DType::u32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::u8:
      break;
  }
  return 1;
}

const char* to_string(DType type) noexcept;

/// Extents of a dense row-major tensor, outermost first. Rank 0 is a scalar.
/// Activations are NHWC, convolution weights KRSC, dense weights [out, in].
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  constexpr Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const noexcept { return rank_; }
  std::int64_t operator[](int axis) const noexcept { return extents_[static_cast<std::size_t>(axis)]; }
  std::span<const std::int64_t> extents() const noexcept {
    return {extents_.data(), static_cast<std::size_t>(rank_)};
  }
  /// Number of elements; 1 for a scalar.
  std::int64_t elements() const noexcept;
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

/// "64x28x28x32"; "scalar" for rank 0.
std::string to_string(const Shape& shape);

struct TensorDesc {
  DType dtype = DType::f32;
  Shape shape;

  std::int64_t elements() const noexcept { return shape.elements(); }
  std::size_t bytes() const noexcept { return static_cast<std::size_t>(elements()) * size_of(dtype); }
  bool operator==(const TensorDesc&) const = default;
};

std::string to_string(const TensorDesc& desc);

}  // namespace quern
