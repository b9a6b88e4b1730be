// Softmax with cross-entropy, and the metrics that are summed over an epoch.

#include <cmath>

#include "providers/onednn/support.hpp"

namespace quern::onednn {

namespace {

class SoftmaxXentRun final : public Executable {
 public:
  SoftmaxXentRun(const OpDesc& desc, int parts)
      : kernels_(kernels()),
        parts_(parts),
        attrs_(desc.as<SoftmaxXentAttrs>()),
        samples_(static_cast<int>(desc.inputs[0].shape[0])),
        classes_(static_cast<int>(desc.inputs[0].shape[1])) {}

  void run(const RunArgs& args) override {
    parallel(parts_, [&](int part) {
      const Range rows = share(samples_, part, parts_);
      const std::int64_t begin = rows.begin * classes_;
      kernels_.softmax_xent({input(args, 0) + begin, input<std::int32_t>(args, 1) + rows.begin,
                             static_cast<int>(rows.size()), classes_, attrs_.label_smoothing,
                             attrs_.gradient_scale, output(args, 0) + rows.begin,
                             attrs_.gradient ? output(args, 1) + begin : nullptr});
    });
  }

 private:
  const Kernels& kernels_;
  int parts_;
  SoftmaxXentAttrs attrs_;
  int samples_, classes_;
};

/// Whether the label's logit is the first maximum of its row. A NaN in the row is no hit, nor is a label that
/// is no class.
bool hit(const float* logits, int classes, std::int32_t label) {
  if (label < 0 || label >= classes) return false;
  const float own = logits[label];
  bool best = true;
  for (int c = 0; c < classes; ++c) best = best && (c < label ? own > logits[c] : own >= logits[c]);
  return best;
}

/// One thread: the sums of a batch are too few to share, and their order is part of the result.
class MetricsRun final : public Executable {
 public:
  explicit MetricsRun(const OpDesc& desc)
      : samples_(desc.inputs[1].shape[0]), classes_(static_cast<int>(desc.inputs[1].shape[1])) {}

  void run(const RunArgs& args) override {
    const float *loss = input(args, 0), *logits = input(args, 1);
    const auto* labels = input<std::int32_t>(args, 2);
    Metrics sums = *input<Metrics>(args, 3);
    for (std::int64_t n = 0; n < samples_; ++n) {
      sums.loss_sum += static_cast<double>(loss[n]);
      sums.correct += hit(logits + n * classes_, classes_, labels[n]) ? 1 : 0;
      sums.count += 1;
      sums.nonfinite += std::isfinite(loss[n]) ? 0 : 1;
    }
    *output<Metrics>(args, 0) = sums;
  }

 private:
  std::int64_t samples_;
  int classes_;
};

}  // namespace

void add_loss(Registry& registry) {
  add_implementation(registry, "fused", {OpKind::softmax_xent, Direction::forward}, never_refuses,
                     prepare_as<SoftmaxXentRun>());
  add_implementation(registry, "fused", {OpKind::metrics, Direction::forward}, never_refuses,
                     [](const OpDesc& desc, Device&) -> std::unique_ptr<Executable> {
                       return std::make_unique<MetricsRun>(desc);
                     });
}

}  // namespace quern::onednn
