#pragma once

/// How far an implementation's result may be from the reference's. The one table of tolerances is in
/// tolerance.cpp.

#include <string_view>

#include "check/operands.hpp"
#include "quern/op.hpp"

namespace quern::check {

/// An element passes when |got - expected| <= atol + rtol * |expected|; a tensor when also
/// sum (got - expected)^2 <= nmse * sum expected^2 + n * (atol / 4)^2. The last term lets tensors pass whose
/// few values all nearly cancel; it is four times tighter than the element's own limit. All zero: equal by
/// value.
struct Limits {
  double atol = 0, rtol = 0, nmse = 0;
  bool exact() const noexcept { return atol == 0 && rtol == 0; }
};

/// Which data an operation was given: small integers (exact in every order of summation), or any numbers.
enum class Tier : std::uint8_t { exact, random };
const char* to_string(Tier tier) noexcept;

/// An operation with what came of it: tolerances follow the data's own magnitude where the error does.
struct Solved {
  const OpDesc& desc;  ///< as the implementation has it: its precision and stored types
  Tier tier;
  const Operands& inputs;    ///< in fp32, as the oracle had them
  const Operands& expected;  ///< the oracle's outputs
  /// Magnitude below which tolerances shrink no further. The table's data are about 1; the gradients of a
  /// real run are far smaller, and 0 holds them to their own size.
  double floor = 1;
};

/// Limits for output `slot`. `exact_algorithm` is Implementation::exact: algorithms that transform their
/// operands (Winograd) get a wider bound.
Limits limits_for(const Solved& solved, std::size_t slot, bool exact_algorithm);

/// Terms in the sum behind one element of an output.
double reduction_length(const OpDesc& desc, std::string_view output);

}  // namespace quern::check
