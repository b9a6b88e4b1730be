// Running sums over the batches of an epoch, kept on the device so that the host need not wait for a step.
//
// Versions
//   1  One block; a thread walks every 256th row, then a tree in a fixed order, in double: the same bits in
//   every run, and no atomics.
//      Predicted: launch-bound up to batches of some thousands; not measured yet.
//
// Floor, 10 classes: 48 bytes a row. Batch 64: 3 KB; batch 1024: 49 KB: below the launch. Its loads have no
// neighbours to overlap with, so about 2 us of latency are expected on top; merging it with softmax_xent
// would save the launch.

#include "kernels/metrics.cuh"

#include "kernels/activation.cuh"
#include "kernels/warp.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// Whether the label's logit is the first maximum of its row. A NaN in the row compares false: no hit.
__device__ __forceinline__ bool is_hit(const Source& logits, std::int64_t row, int classes, int label) {
  if (label < 0 || label >= classes) return false;
  const float own = logits[row + label];
  bool hit = true;
  for (int c = 0; c < classes; ++c) {
    const float other = logits[row + c];
    hit = hit && (c < label ? own > other : own >= other);
  }
  return hit;
}

// Shapes: loss and labels [rows], logits [rows, classes].
__global__ void __launch_bounds__(kThreads) metrics_kernel(const __grid_constant__ MetricsArgs args) {
  join_stream();
  const Source logits{args.logits, args.logits_bf16};
  double loss = 0;
  int correct = 0, nonfinite = 0;
  for (int row = static_cast<int>(threadIdx.x); row < args.rows; row += kThreads) {
    const float value = args.loss[row];
    loss += static_cast<double>(value);
    nonfinite += isfinite(value) ? 0 : 1;
    correct += is_hit(logits, static_cast<std::int64_t>(row) * args.classes, args.classes, args.labels[row]);
  }
  QUERN_SHARED(losses, double[kWarps]);
  QUERN_SHARED(hits, int[kWarps]);
  QUERN_SHARED(failures, int[kWarps]);
  loss = warp_sum(loss);
  correct = warp_sum(correct);
  nonfinite = warp_sum(nonfinite);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x % 32 == 0) {
    losses[warp] = loss;
    hits[warp] = correct;
    failures[warp] = nonfinite;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  Metrics sums = *args.before;
  double batch_loss = 0;
  for (int w = 0; w < kWarps; ++w) {
    batch_loss += losses[w];
    sums.correct += hits[w];
    sums.nonfinite += failures[w];
  }
  sums.loss_sum += batch_loss;
  sums.count += args.rows;
  *args.after = sums;
}

}  // namespace

void metrics_forward(const MetricsArgs& args, Stream stream) {
  launch_dependent(QUERN_KERNEL(metrics_kernel), 1, kThreads, 0, stream, args);
}

}  // namespace quern::kernels::QUERN_TARGET
