#pragma once

/// Between Quern's channels-last order and the channels-first order of PyTorch and ONNX.

#include <cstdint>
#include <span>
#include <vector>

#include "quern/tensor.hpp"

namespace quern {

/// [N,H,W,C] -> [N,C,H,W].
std::vector<float> channels_first(std::span<const float> values, std::int64_t n, std::int64_t h,
                                  std::int64_t w, std::int64_t c);
/// [N,C,H,W] -> [N,H,W,C].
std::vector<float> channels_last(std::span<const float> values, std::int64_t n, std::int64_t h,
                                 std::int64_t w, std::int64_t c);

/// Whether a picture [N,H,W,C] flattened in one order differs from the other.
inline bool order_matters(const Shape& picture) {
  return picture[1] * picture[2] > 1 && picture[3] > 1;
}

}  // namespace quern
