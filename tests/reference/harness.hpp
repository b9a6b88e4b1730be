#pragma once

/// Runs the reference on small tensors given as doubles, and differentiates it numerically.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <string_view>
#include <vector>

#include "quern/op.hpp"

namespace quern::testing {

using Values = std::vector<double>;

/// The type in which f32 operands are stored: float as in production, double for finite differences.
enum class Storage { single, full };

/// One call of the reference. Operands are named as in the contract; a slot that is updated in place has one
/// buffer. Outputs start out filled with `poison` bytes and every buffer is followed by a guard band.
class Call {
 public:
  explicit Call(const OpDesc& desc, Storage storage = Storage::full, std::uint8_t poison = 0xFF);

  Call& set(std::string_view slot, const Values& values);
  Call& set_step(const StepScalars& step);
  /// Validates the description, runs the reference and checks the guard bands.
  Call& run();
  /// An output, or an input that is no output.
  Values get(std::string_view slot) const;
  /// The bytes of all outputs, one after the other.
  std::vector<std::uint8_t> output_bytes() const;

  const OpDesc& desc() const { return desc_; }

 private:
  struct Operand {
    std::string_view name;
    TensorDesc tensor;
    std::size_t bytes;
    bool input, output;
    std::vector<std::uint8_t> data;
  };
  std::size_t element_size(DType type) const;
  Operand& find(std::string_view slot);
  const Operand& find(std::string_view slot) const;

  OpDesc desc_;
  Storage storage_;
  std::vector<Operand> operands_;
  std::vector<std::size_t> in_, out_;  ///< indices of operands_ in slot order
};

/// Reproducible values in [low, high).
Values random_values(std::int64_t count, std::uint64_t seed, double low = -1, double high = 1);

/// A shuffle of ..., -0.25, -0.05, 0.15, 0.35, ...: all different, none near zero, none near another.
Values distinct_values(std::int64_t count, std::uint64_t seed);

double dot(const Values& a, const Values& b);
Values rectified(Values values);
/// gradient where `at` > 0, else 0.
Values masked(Values gradient, const Values& at);

/// d f / d x by central differences, one element at a time.
Values numeric_gradient(const Values& x, const std::function<double(const Values&)>& f, double step = 1e-5);

/// The image [N,H,W,C] with its borders filled in, so that a window over it needs no padding.
struct Padded {
  Shape shape;
  Values values;

  double at(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) const {
    return values[static_cast<std::size_t>(((n * shape[1] + h) * shape[2] + w) * shape[3] + c)];
  }
};
Padded padded(const Shape& shape, const Values& image, const Window& window, double border);

/// visit(n, p, q, k) for every element of [N,P,Q,K], in the order of storage.
template <class Visit>
void for_each_output(const Shape& shape, const Visit& visit) {
  for (std::int64_t n = 0; n < shape[0]; ++n)
    for (std::int64_t p = 0; p < shape[1]; ++p)
      for (std::int64_t q = 0; q < shape[2]; ++q)
        for (std::int64_t k = 0; k < shape[3]; ++k) visit(n, p, q, k);
}

/// Element-wise |actual - expected| <= tolerance * (1 + |expected|); a NaN is never near.
void expect_near(const Values& actual, const Values& expected, double tolerance, std::string_view what);

}  // namespace quern::testing
