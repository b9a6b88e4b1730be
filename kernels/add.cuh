#pragma once

/// Sum of two tensors, with an optional ReLU. Contract of add.forward in quern/op.hpp; f32 or bf16, any
/// number of elements.

#include <cstdint>

#include "kernels/launcher.hpp"
#include "quern/tensor.hpp"

namespace quern::kernels {

struct AddForwardArgs {
  const void* a = nullptr;
  const void* b = nullptr;
  void* y = nullptr;  ///< y = a + b, or max(a + b, 0); may be a or b
  std::int64_t elements = 0;
  bool relu = false;
  DType type = DType::f32;  ///< of all three
};

QUERN_DECLARE_LAUNCHER(add_forward, AddForwardArgs);

}  // namespace quern::kernels
