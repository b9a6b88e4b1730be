#pragma once

/// What the reference reads and writes through: tensors whose elements look like doubles.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "quern/error.hpp"
#include "quern/implementation.hpp"

namespace quern::reference {

using Index = std::int64_t;

inline double from_bf16(std::uint16_t bits) {
  return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
}

/// Rounded once, to nearest, ties to even. (Through float it would be rounded twice.)
inline std::uint16_t to_bf16(double value) {
  double rounded = value;
  if (std::isfinite(value) && value != 0) {
    int exponent = 0;  // |value| in [2^(exponent-1), 2^exponent)
    std::frexp(value, &exponent);
    // bf16 has 8 significant bits, and no smaller exponent than float's.
    const int unit = std::max(exponent, std::numeric_limits<float>::min_exponent) - 8;
    rounded = std::ldexp(std::nearbyint(std::ldexp(value, -unit)), unit);
  }
  // Exact now, or beyond the largest finite number, which becomes infinity; a NaN stays one.
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(rounded));
  return static_cast<std::uint16_t>(bits >> 16 | (std::isnan(value) ? 0x40u : 0u));
}

/// A tensor of f32 (stored as Real) or bf16. x[i] and x(n, h, w, c) are readable as double and assignable.
template <class Real>
class View {
 public:
  /// One element; assigning rounds to the stored type.
  class Element {
   public:
    Element(const View& view, Index offset) : view_(view), offset_(offset) {}
    operator double() const { return view_.load(offset_); }
    double operator=(double value) const { return view_.store(offset_, value), value; }

   private:
    const View& view_;
    Index offset_;
  };

  View() = default;
  View(const TensorDesc& desc, void* data)
      : shape_(desc.shape), data_(data), bf16_(desc.dtype == DType::bf16) {
    QUERN_REQUIRE(bf16_ || desc.dtype == DType::f32, "expected f32 or bf16, got {}", to_string(desc.dtype));
  }

  const Shape& shape() const { return shape_; }
  Index extent(int axis) const { return shape_[axis]; }
  Index elements() const { return shape_.elements(); }
  explicit operator bool() const { return data_ != nullptr; }

  Element operator[](Index i) const { return {*this, i}; }
  Element operator()(Index i, Index j) const { return {*this, i * shape_[1] + j}; }
  Element operator()(Index i, Index j, Index k, Index l) const {
    return {*this, ((i * shape_[1] + j) * shape_[2] + k) * shape_[3] + l};
  }

  /// `value` as it would be read back after storing it here.
  double rounded(double value) const {
    if (bf16_) return from_bf16(to_bf16(value));
    return static_cast<double>(static_cast<Real>(value));
  }

 private:
  double load(Index offset) const {
    if (bf16_) return from_bf16(static_cast<const std::uint16_t*>(data_)[offset]);
    return static_cast<double>(static_cast<const Real*>(data_)[offset]);
  }
  void store(Index offset, double value) const {
    if (bf16_)
      static_cast<std::uint16_t*>(data_)[offset] = to_bf16(value);
    else
      static_cast<Real*>(data_)[offset] = static_cast<Real>(value);
  }

  Shape shape_;
  void* data_ = nullptr;
  bool bf16_ = false;
};

/// Hands out the operands of one call in the slot order of the contract.
template <class Real>
class Operands {
 public:
  Operands(const OpDesc& desc, const RunArgs& args) : desc_(desc), args_(args) {
    QUERN_REQUIRE(args.in.size() == desc.inputs.size() && args.out.size() == desc.outputs.size(),
                  "{}: operand addresses do not match its description", to_string(desc.op));
  }

  View<Real> input() {
    const std::size_t slot = next_input_++;
    return {desc_.inputs[slot], args_.in[slot]};
  }
  View<Real> output() {
    const std::size_t slot = next_output_++;
    return {desc_.outputs[slot], args_.out[slot]};
  }
  /// A slot that is there only when an attribute is set; else an empty view.
  View<Real> input_if(bool present) { return present ? input() : View<Real>(); }
  View<Real> output_if(bool present) { return present ? output() : View<Real>(); }

  /// Of the slot that the next call of an input takes.
  const TensorDesc& next_input() const { return desc_.inputs[next_input_]; }
  template <class T>
  const T* raw_input() {
    return static_cast<const T*>(args_.in[next_input_++]);
  }
  template <class T>
  T* raw_output() {
    return static_cast<T*>(args_.out[next_output_++]);
  }
  StepScalars step() {
    StepScalars scalars;
    std::memcpy(&scalars, raw_input<std::uint8_t>(), sizeof(scalars));
    return scalars;
  }
  /// The last operands of a node with `advance`: step = steps[min(index + 1, S - 1)].
  void advance(const StepScalars& step) {
    const Index next = std::min(Index{step.index} + 1, desc_.inputs[next_input_].shape[0] - 1);
    const auto* table = raw_input<std::uint8_t>();
    std::memcpy(raw_output<std::uint8_t>(), table + next * Index{sizeof(step)}, sizeof(step));
  }

 private:
  const OpDesc& desc_;
  const RunArgs& args_;
  std::size_t next_input_ = 0, next_output_ = 0;
};

/// max(value, 0); a NaN stays NaN, so that it is seen downstream.
inline double relu(double value) {
  return value > 0 || std::isnan(value) ? value : 0;
}

/// Mean and biased variance of channel c over all rows of x[.., C], in two passes.
struct Moments {
  double mean, variance;
};
template <class Real>
Moments moments(const View<Real>& x, Index c) {
  const Index channels = x.extent(x.shape().rank() - 1);
  const Index rows = x.elements() / channels;
  double sum = 0;
  for (Index row = 0; row < rows; ++row) sum += x[row * channels + c];
  const double mean = sum / static_cast<double>(rows);
  double squares = 0;
  for (Index row = 0; row < rows; ++row) {
    const double deviation = x[row * channels + c] - mean;
    squares += deviation * deviation;
  }
  return {mean, squares / static_cast<double>(rows)};
}

}  // namespace quern::reference
