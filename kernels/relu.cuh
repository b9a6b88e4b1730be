#pragma once

/// ReLU. Contract of relu.forward and relu.backward in quern/op.hpp; f32, any number of elements, any
/// alignment.

#include <cstdint>

#include "kernels/launcher.hpp"

namespace quern::kernels {

struct ReluForwardArgs {
  const float* x = nullptr;
  float* y = nullptr;  ///< y = max(x, 0), NaN stays NaN; may be x
  std::int64_t elements = 0;
};

struct ReluBackwardArgs {
  const float* dy = nullptr;
  const float* y = nullptr;
  float* dx = nullptr;  ///< dx = dy where y > 0, else 0; may be dy
  std::int64_t elements = 0;
};

QUERN_DECLARE_LAUNCHER(relu_forward, ReluForwardArgs);
QUERN_DECLARE_LAUNCHER(relu_backward, ReluBackwardArgs);

}  // namespace quern::kernels
