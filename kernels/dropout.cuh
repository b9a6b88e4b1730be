#pragma once

/// Dropout. Contract of dropout.forward and dropout.backward in quern/op.hpp: the same function of (seed,
/// stream, step, element) both ways, so one launcher serves both. f32 or bf16, any number of elements, any
/// alignment.

#include <cstdint>

#include "kernels/launcher.hpp"
#include "quern/op.hpp"

namespace quern::kernels {

struct DropoutArgs {
  const StepScalars* step = nullptr;  ///< in device memory: seed and step are read when the kernel runs
  const void* from = nullptr;         ///< x, or dy
  void* to = nullptr;                 ///< y, or dx; may be `from`
  std::int64_t elements = 0;
  float probability = 0;  ///< of zeroing an element, below 1
  std::uint32_t stream = 0;
  DType type = DType::f32;  ///< of both
};

QUERN_DECLARE_LAUNCHER(dropout_apply, DropoutArgs);

}  // namespace quern::kernels
