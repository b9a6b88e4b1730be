// Softmax, cross-entropy loss and gradient.
//
// Versions
//   1  A group of 8, 16 or 32 lanes a row (the fewest that hold the classes), everything in registers and
//   shuffles, one read of
//      the logits for up to 4 classes a lane. Predicted: launch-bound at every batch of the seed net; not
//      measured yet.
//
// Floor, 10 classes: 84 bytes a row. Batch 64: 5.4 KB; batch 1024: 86 KB, 0.02 us at an H200's 4.8 TB/s. One
// launch, which is what it costs (1 to 2 us); fusing it into the last dense layer's epilogue would save that.

#include "kernels/softmax_xent.cuh"

#include "kernels/activation.cuh"
#include "kernels/warp.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kThreads = 128;

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
  const int label = args.labels[min(row, args.rows - 1)];

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

  if (args.dlogits == nullptr || !writes) return;
  const float smooth = args.label_smoothing / static_cast<float>(args.classes);
  for (int c = lane; c < args.classes; c += lanes) {
    const float target = (c == label ? 1.0f - args.label_smoothing : 0.0f) + smooth;
    Destination{args.dlogits, args.dlogits_bf16}.store(
        offset + c, (expf(x(c) - largest - log_sum) - target) * args.gradient_scale);
  }
}

}  // namespace

void softmax_xent_forward(const SoftmaxXentArgs& args, Stream stream) {
  if (args.rows == 0) return;
  const int lanes = args.classes <= 8 ? 8 : args.classes <= 16 ? 16 : 32;
  const auto kernel = lanes == 8    ? QUERN_KERNEL(softmax_xent_kernel<8>)
                      : lanes == 16 ? QUERN_KERNEL(softmax_xent_kernel<16>)
                                    : QUERN_KERNEL(softmax_xent_kernel<32>);
  const int rows_per_block = kThreads / lanes;
  launch_dependent(kernel, static_cast<unsigned>((args.rows + rows_per_block - 1) / rows_per_block), kThreads,
                   0, stream, args);
}

}  // namespace quern::kernels::QUERN_TARGET
