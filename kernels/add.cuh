#pragma once

/// Sum of two tensors, with an optional ReLU. Contract of add.forward in quern/op.hpp; f32, any number of
/// elements.

#include <cstdint>

#include "kernels/launcher.hpp"

namespace quern::kernels {

struct AddForwardArgs {
  const float* a = nullptr;
  const float* b = nullptr;
  float* y = nullptr;  ///< y = a + b, or max(a + b, 0); may be a or b
  std::int64_t elements = 0;
  bool relu = false;
};

QUERN_DECLARE_LAUNCHER(add_forward, AddForwardArgs);

}  // namespace quern::kernels
