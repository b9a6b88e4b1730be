#pragma once

/// Running sums of loss, top-1 hits and samples. Contract of metrics.forward in quern/op.hpp.

#include <cstdint>

#include "kernels/launcher.hpp"
#include "quern/op.hpp"

namespace quern::kernels {

struct MetricsArgs {
  const float* loss = nullptr;           ///< [rows]
  const void* logits = nullptr;          ///< [rows, classes]
  const std::int32_t* labels = nullptr;  ///< [rows]
  const Metrics* before = nullptr;
  Metrics* after = nullptr;  ///< before plus this batch; may be `before`
  bool logits_bf16 = false;  ///< f32 otherwise
  int rows = 0, classes = 0;
};

QUERN_DECLARE_LAUNCHER(metrics_forward, MetricsArgs);

}  // namespace quern::kernels
