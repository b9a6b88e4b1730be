#pragma once

/// ReLU. Contract of relu.forward and relu.backward in quern/op.hpp; f32 or bf16, any number of
/// elements, any alignment.

#include <cstdint>

#include "kernels/launcher.hpp"
#include "quern/tensor.hpp"

namespace quern::kernels {

struct ReluForwardArgs {
  const void* x = nullptr;
  void* y = nullptr;  ///< y = max(x, 0), NaN stays NaN; may be x
  std::int64_t elements = 0;
  DType type = DType::f32;  ///< of both
};

struct ReluBackwardArgs {
  const void* dy = nullptr;
  const void* y = nullptr;
  void* dx = nullptr;  ///< dx = dy where y > 0, else 0; may be dy
  std::int64_t elements = 0;
  DType type = DType::f32;  ///< of all three
};

QUERN_DECLARE_LAUNCHER(relu_forward, ReluForwardArgs);
QUERN_DECLARE_LAUNCHER(relu_backward, ReluBackwardArgs);

}  // namespace quern::kernels
