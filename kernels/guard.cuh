#pragma once

/// Whether a step is to be counted. Contract of guard.forward in quern/op.hpp.

#include <cstddef>
#include <cstdint>

#include "kernels/launcher.hpp"
#include "quern/op.hpp"

namespace quern::kernels {

struct GuardArgs {
  const float* loss = nullptr;   ///< [rows]
  const float* grads = nullptr;  ///< [elements]
  Metrics* metrics = nullptr;    ///< updated in place, like all that follow
  Metrics* kept_metrics = nullptr;
  StepGuard* guard = nullptr;
  float* running = nullptr;       ///< [statistics]
  float* kept_running = nullptr;  ///< [statistics]
  std::int64_t rows = 0, elements = 0, statistics = 0;
  int* verdicts = nullptr;       ///< workspace, kGuardBlocks of them
  unsigned* counters = nullptr;  ///< one
};

/// At most; each leaves a verdict on its share.
inline constexpr int kGuardBlocks = 128;

QUERN_DECLARE_LAUNCHER(guard_forward, GuardArgs);

}  // namespace quern::kernels
