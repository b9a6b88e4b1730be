#pragma once

/// One optimizer step over all parameters. Contract of optimizer.forward in quern/op.hpp, formulas there
/// (OptimizerAttrs).

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/advance_args.hpp"
#include "kernels/launcher.hpp"
#include "quern/op.hpp"

namespace quern::kernels {

struct OptimizerArgs {
  OptimizerAttrs attrs;
  const StepScalars* step = nullptr;  ///< in device memory
  const float* grads = nullptr;
  float* params = nullptr;  ///< updated in place, like the slots
  float* slot1 = nullptr;   ///< null where the kind has none
  float* slot2 = nullptr;
  const StepGuard* guard = nullptr;  ///< null: no step is skipped
  double* partial_norms = nullptr;   ///< workspace, optimizer_workspace() bytes; unused without clipping
  AdvanceArgs advance;
  unsigned* counters = nullptr;  ///< one, where `advance` has steps
};

/// Partial sums of squares, one a block of the norm kernel.
inline constexpr int kNormBlocks = 64;
/// Bytes of workspace.
inline std::size_t optimizer_workspace(const OptimizerAttrs& attrs) {
  return attrs.clip_norm > 0 ? kNormBlocks * sizeof(double) : 0;
}

QUERN_DECLARE_LAUNCHER(optimizer_forward, OptimizerArgs);

}  // namespace quern::kernels
