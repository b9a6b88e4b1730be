#pragma once

/// Exponential moving average of the weights. Contract of ema.forward in quern/op.hpp; f32, any number of
/// elements, any alignment.

#include <cstdint>

#include "kernels/advance_args.hpp"
#include "kernels/launcher.hpp"
#include "quern/op.hpp"

namespace quern::kernels {

struct EmaForwardArgs {
  EmaAttrs attrs;
  const StepScalars* step = nullptr;  ///< in device memory; its ema_decay is read when the kernel runs
  const float* values = nullptr;
  const float* average = nullptr;
  float* updated = nullptr;  ///< decay * average + (1 - decay) * values; may be `average`
  std::int64_t elements = 0;
  const StepGuard* guard = nullptr;  ///< null: no step is skipped
  AdvanceArgs advance;
  unsigned* counters = nullptr;  ///< one, where `advance` has steps
};

QUERN_DECLARE_LAUNCHER(ema_forward, EmaForwardArgs);

}  // namespace quern::kernels
