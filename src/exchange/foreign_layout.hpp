#pragma once

/// What a model's tensors are called and how they are laid out elsewhere.

#include <cstdint>
#include <string>
#include <vector>

#include "quern/exchange.hpp"
#include "quern/graph.hpp"

namespace quern {

struct ForeignTensor {
  WeightTensor own;
  std::string name;                 ///< there
  std::vector<std::int64_t> shape;  ///< there
  /// How to get there and back.
  enum class Order {
    same,
    conv_torch,  ///< KRSC <-> KCRS
    conv_keras,  ///< KRSC <-> RSCK
    transposed,  ///< [out, in] <-> [in, out]
    picture,     ///< the last axis is a flattened picture: [.., HWC] <-> [.., CHW]
  } order = Order::same;
  Shape picture;  ///< [1,H,W,C]

  std::vector<float> to_foreign(std::span<const float> own_values) const;
  std::vector<float> to_own(std::span<const float> foreign_values) const;
};

/// One for each tensor of weight_layout(spec), in its order.
std::vector<ForeignTensor> foreign_layout(const ModelSpec& spec, WeightHome home);

}  // namespace quern
