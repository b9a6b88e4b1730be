#pragma once

#include <cstdint>

#include "quern/op.hpp"

namespace quern::kernels {

/// The operands of `advance`; a kernel that has them needs one counter.
struct AdvanceArgs {
  StepScalars* step = nullptr;         ///< in device memory: read by all blocks, then moved on by the last
  const StepScalars* steps = nullptr;  ///< [count]; null: the scalars stay as they are
  std::uint32_t count = 0;
};

}  // namespace quern::kernels
