#pragma once

/// Casts between f32 and bf16 for providers whose libraries want operands of one type: to bf16 rounds to
/// nearest even, to f32 is exact; NaN stays NaN. Any number of elements, any alignment.

#include <cstdint>

#include "kernels/launcher.hpp"

namespace quern::kernels {

struct CastArgs {
  const void* x = nullptr;
  void* y = nullptr;
  std::int64_t elements = 0;
};

QUERN_DECLARE_LAUNCHER(cast_to_bf16, CastArgs);  ///< x: f32, y: bf16
QUERN_DECLARE_LAUNCHER(cast_to_f32, CastArgs);   ///< x: bf16, y: f32

}  // namespace quern::kernels
