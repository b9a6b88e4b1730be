#pragma once

/// Softmax, cross-entropy, its gradient and the sums of the metrics in one launch. Contract of
/// softmax_xent.forward in quern/op.hpp.

#include <cstddef>
#include <cstdint>

#include "kernels/dataset.hpp"
#include "kernels/launcher.hpp"
#include "quern/op.hpp"

namespace quern::kernels {

struct SoftmaxXentArgs {
  const void* logits = nullptr;          ///< [rows, classes]
  const std::int32_t* labels = nullptr;  ///< [rows]; one outside of [0, classes) gives a NaN loss
  bool gather = false;                   ///< labels are those of `dataset`
  Dataset dataset;
  float* loss = nullptr;                           ///< [rows]
  void* dlogits = nullptr;                         ///< [rows, classes], or null: no gradient
  bool logits_bf16 = false, dlogits_bf16 = false;  ///< f32 otherwise
  bool with_gradient = false;                      ///< dlogits will not be null
  bool with_metrics = false;                       ///< the next two will not be null
  const Metrics* before = nullptr;
  Metrics* after = nullptr;      ///< before plus this batch; may be `before`
  void* workspace = nullptr;     ///< softmax_xent_workspace() bytes
  unsigned* counters = nullptr;  ///< one where there are metrics
  int rows = 0, classes = 0;
  float label_smoothing = 0;
  float gradient_scale = 1;
};

inline constexpr int kSoftmaxThreads = 128;
/// Lanes that share a row, and blocks.
inline int softmax_lanes(int classes) {
  return classes <= 8 ? 8 : classes <= 16 ? 16 : 32;
}
inline int softmax_blocks(int rows, int classes) {
  const int rows_per_block = kSoftmaxThreads / softmax_lanes(classes);
  return (rows + rows_per_block - 1) / rows_per_block;
}
/// Of the metrics: for every block its losses' sum and two counts.
inline std::size_t softmax_xent_workspace(const SoftmaxXentArgs& args) {
  if (!args.with_metrics) return 0;
  return static_cast<std::size_t>(softmax_blocks(args.rows, args.classes)) *
         (sizeof(double) + 2 * sizeof(int));
}

QUERN_DECLARE_LAUNCHER(softmax_xent_forward, SoftmaxXentArgs);

}  // namespace quern::kernels
