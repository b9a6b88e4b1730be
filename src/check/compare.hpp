#pragma once

/// Comparing one output with the oracle's.

#include <cstdint>
#include <optional>
#include <string>

#include "check/tolerance.hpp"

namespace quern::check {

/// How an element failed; the order is the order in which they are looked for.
enum class Fault : std::uint8_t {
  nonfinite,  ///< NaN or infinite where the reference is not (or the other way round)
  element,    ///< outside atol + rtol * |expected|, or not equal where it must be
  nmse,       ///< every element within its limit, but together too far off
};

struct Deviation {
  Fault fault = Fault::element;
  std::size_t index = 0;  ///< flat; of the first non-finite element, or of the worst one
  double got = 0, expected = 0;
  double tolerance = 0;   ///< of that element; for nmse the limit
  std::size_t count = 0;  ///< elements that failed
};

struct Comparison {
  std::optional<Deviation> deviation;
  double worst = 0;  ///< largest |error| / tolerance; 1 is the limit (0 where equality is asked and found)
  std::size_t worst_index = 0;  ///< flat, of that element
  double worst_got = 0, worst_expected = 0;
  double nmse = 0;  ///< sum (got - expected)^2 / sum expected^2
};

/// NaN and infinities first: an element must be one exactly where the reference is (and of the same sign).
Comparison compare(const HostTensor& expected, const HostTensor& got, const Limits& limits);

/// The argmax of a fused batch norm + pooling. `z` is the reference's normalised image without ReLU and
/// pooling. A slot must lie inside its window and the image. Where the winner is clear - every rival is
/// either more than 2 tolerances smaller, or exactly tied because it comes from an equal x or a zero gamma -
/// it must be the reference's; elsewhere any slot whose value is within 2 tolerances of the maximum passes.
struct ArgmaxContext {
  const OpDesc& desc;  ///< batchnorm.forward with pool
  const HostTensor& x;
  const HostTensor& gamma;
  const HostTensor& z;
  Limits z_limits;
};
struct ArgmaxComparison {
  Comparison comparison;
  std::size_t clear = 0;  ///< windows whose winner was clear
};
ArgmaxComparison compare_argmax(const ArgmaxContext& context, const HostTensor& expected,
                                const HostTensor& got);

/// "[1,3,0,2]" for a flat index.
std::string coordinates(const Shape& shape, std::size_t index);

}  // namespace quern::check
