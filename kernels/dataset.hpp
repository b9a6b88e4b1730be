#pragma once

/// A batch that is still in its dataset (`gather` in quern/op.hpp).

#include <cstdint>

#include "quern/op.hpp"

namespace quern::kernels {

/// Sample n is entry order[step->order_offset + n] of `values`: an image, or a label.
struct Dataset {
  const std::uint8_t* values = nullptr;  ///< null: the batch is an operand of its own
  const std::uint32_t* order = nullptr;
  const StepScalars* step = nullptr;  ///< in device memory
};

}  // namespace quern::kernels
