// Softmax, cross-entropy loss and gradient, and the sums of the metrics.
//
// Versions
//   1  A group of 8, 16 or 32 lanes a row (the fewest that hold the classes), everything in registers and
//   shuffles, one read of
//      the logits for up to 4 classes a lane. Predicted: launch-bound at every batch of the seed net; not
//      measured yet.
//   2  The metrics in the same launch, while the row is at hand: every block leaves its sums, the last to
//      arrive adds them up in the order of the blocks. Predicted: a launch less, 1 us more at batch 64 for
//      the fence and the counter; not measured yet.
//
// Floor, 10 classes: 84 bytes a row. Batch 64: 5.4 KB; batch 1024: 86 KB, 0.02 us at an H200's 4.8 TB/s. One
// launch, which is what it costs (1 to 2 us); fusing it into the last dense layer's epilogue would save that.

#include "kernels/softmax_xent.cuh"

#include "kernels/activation.cuh"
#include "kernels/gather.cuh"
#include "kernels/gemm/arrival.cuh"
#include "kernels/warp.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kThreads = kSoftmaxThreads;

// What the rows of a block add to the metrics.
struct Sums {
  double loss = 0;
  int correct = 0, nonfinite = 0;
};

// Adds up what the threads of a block hold, in a fixed order; complete in thread 0. Called by all threads.
__device__ __forceinline__ Sums add_up(Sums sums) {
  constexpr int kWarps = kThreads / 32;
  QUERN_SHARED(losses, double[kWarps]);
  QUERN_SHARED(hits, int[kWarps]);
  QUERN_SHARED(failures, int[kWarps]);
  sums.loss = warp_sum(sums.loss);
  sums.correct = warp_sum(sums.correct);
  sums.nonfinite = warp_sum(sums.nonfinite);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x % 32 == 0) {
    losses[warp] = sums.loss;
    hits[warp] = sums.correct;
    failures[warp] = sums.nonfinite;
  }
  __syncthreads();
  if (threadIdx.x == 0)
    for (int w = 1; w < kWarps; ++w) {
      sums.loss += losses[w];
      sums.correct += hits[w];
      sums.nonfinite += failures[w];
    }
  __syncthreads();  // the arrays are free again
  return sums;
}

// Workspace: losses [blocks], then correct and nonfinite [blocks, 2].
__device__ __forceinline__ void add_metrics(const SoftmaxXentArgs& args, Sums sums) {
  const auto blocks = static_cast<int>(gridDim.x);
  auto* const losses = static_cast<double*>(args.workspace);
  auto* const counts = reinterpret_cast<int*>(losses + blocks);
  sums = add_up(sums);
  if (threadIdx.x == 0) {
    losses[blockIdx.x] = sums.loss;
    counts[2 * blockIdx.x] = sums.correct;
    counts[2 * blockIdx.x + 1] = sums.nonfinite;
  }
  if (!last_to_arrive(args.counters, gridDim.x)) return;
  Sums all;
  for (int block = static_cast<int>(threadIdx.x); block < blocks; block += kThreads) {
    all.loss += __ldcg(losses + block);
    all.correct += __ldcg(counts + 2 * block);
    all.nonfinite += __ldcg(counts + 2 * block + 1);
  }
  all = add_up(all);
  if (threadIdx.x != 0) return;
  Metrics metrics = *args.before;
  metrics.loss_sum += all.loss;
  metrics.correct += all.correct;
  metrics.count += args.rows;
  metrics.nonfinite += all.nonfinite;
  *args.after = metrics;
}

// Shapes: logits and dlogits [rows, classes], labels and loss [rows].
template <int lanes>
__global__ void __launch_bounds__(kThreads)
    softmax_xent_kernel(const __grid_constant__ SoftmaxXentArgs args) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const int row = static_cast<int>(blockIdx.x) * (kThreads / lanes) + static_cast<int>(threadIdx.x) / lanes;
  // Lanes past the last row work on it again without writing, because shuffles want the whole warp.
  const bool writes = row < args.rows;
  join_stream();
  const std::int64_t offset = static_cast<std::int64_t>(min(row, args.rows - 1)) * args.classes;
  const Source logits{args.logits, args.logits_bf16};
  const auto x = [&](int c) { return logits[offset + c]; };
  const int sample = min(row, args.rows - 1);
  const int label =
      args.gather ? args.dataset.values[dataset_index(args.dataset, sample)] : args.labels[sample];

  float largest = -INFINITY;
  for (int c = lane; c < args.classes; c += lanes) {
    const float v = x(c);
    largest = v > largest || v != v ? v : largest;
  }
  largest = warp_max<lanes>(largest);

  // With the largest logit taken out first, nothing overflows and no digits are lost.
  float sum = 0, shifted_sum = 0, shifted_label = 0;
  for (int c = lane; c < args.classes; c += lanes) {
    const float shifted = x(c) - largest;
    sum += expf(shifted);
    shifted_sum += shifted;
    if (c == label) shifted_label = shifted;
  }
  sum = warp_sum<lanes>(sum);
  shifted_label = warp_sum<lanes>(shifted_label);
  const float log_sum = logf(sum);

  // loss = -sum of target * log p with log p = shifted - log_sum and target = (1 - s) * onehot + s / classes.
  float loss = (1.0f - args.label_smoothing) * (log_sum - shifted_label);
  if (args.label_smoothing != 0.0f) {
    const float mean_shifted = warp_sum<lanes>(shifted_sum) / static_cast<float>(args.classes);
    loss += args.label_smoothing * (log_sum - mean_shifted);
  }
  if (label < 0 || label >= args.classes) loss = NAN;
  if (writes && lane == 0) args.loss[row] = loss;

  if (args.dlogits != nullptr && writes) {
    const float smooth = args.label_smoothing / static_cast<float>(args.classes);
    for (int c = lane; c < args.classes; c += lanes) {
      const float target = (c == label ? 1.0f - args.label_smoothing : 0.0f) + smooth;
      Destination{args.dlogits, args.dlogits_bf16}.store(
          offset + c, (expf(x(c) - largest - log_sum) - target) * args.gradient_scale);
    }
  }

  if (!args.with_metrics) return;
  // A hit: the label's logit is the first maximum. A NaN compares false.
  int beaten_by = label >= 0 && label < args.classes ? 0 : 1;
  if (beaten_by == 0) {
    const float own = x(label);
    for (int c = lane; c < args.classes; c += lanes)
      beaten_by += (c < label ? own > x(c) : own >= x(c)) ? 0 : 1;
  }
  beaten_by = warp_sum<lanes>(beaten_by);
  Sums sums;
  if (writes && lane == 0) {
    sums.loss = static_cast<double>(loss);
    sums.correct = beaten_by == 0 ? 1 : 0;
    sums.nonfinite = isfinite(loss) ? 0 : 1;
  }
  add_metrics(args, sums);
}

}  // namespace

void softmax_xent_forward(const SoftmaxXentArgs& args, Stream stream) {
  if (args.rows == 0) return;
  const int lanes = softmax_lanes(args.classes);
  const auto kernel = lanes == 8    ? QUERN_KERNEL(softmax_xent_kernel<8>)
                      : lanes == 16 ? QUERN_KERNEL(softmax_xent_kernel<16>)
                                    : QUERN_KERNEL(softmax_xent_kernel<32>);
  launch_dependent(kernel, static_cast<unsigned>(softmax_blocks(args.rows, args.classes)), kThreads, 0,
                   stream, args);
}

}  // namespace quern::kernels::QUERN_TARGET
