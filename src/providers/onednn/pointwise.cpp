// Element-wise operations: ReLU, add, dropout.

#include "providers/onednn/support.hpp"

namespace quern::onednn {

namespace {

// A share is a whole number of cache lines, and of Philox blocks.
constexpr std::int64_t kGrain = 256;

enum class Pointwise { relu_forward, relu_backward, add };

class PointwiseRun final : public ImageExecutable {
 public:
  PointwiseRun(const OpDesc& desc, int parts)
      : ImageExecutable(parts, desc.inputs[0].shape[0]),
        kernels_(kernels()),
        elements_(desc.inputs[0].elements()),
        relu_(desc.op.kind == OpKind::add && desc.as<AddAttrs>().relu),
        function_(desc.op.kind == OpKind::add               ? kernels_.add
                  : desc.op.direction == Direction::forward ? kernels_.relu
                                                            : kernels_.relu_backward),
        binary_(desc.inputs.size() > 1) {}

  bool reads_by_image(std::size_t) const override { return true; }
  bool writes_by_image(std::size_t) const override { return true; }
  void run_images(const RunArgs& args, int, std::int64_t begin, std::int64_t end) override {
    const std::int64_t image = elements_ / images_;
    map(args, {begin * image, end * image});
  }

 protected:
  void run_share(const RunArgs& args, int part) override {
    map(args, share(elements_, kGrain, part, parts_));
  }

 private:
  void map(const RunArgs& args, Range range) const {
    function_({input(args, 0) + range.begin, binary_ ? input(args, 1) + range.begin : nullptr,
               output(args, 0) + range.begin, range.size(), relu_});
  }

  const Kernels& kernels_;
  std::int64_t elements_;
  bool relu_;
  void (*function_)(const Elementwise&);
  bool binary_;
};

/// Forward and backward are the same map: the mask is drawn again from (seed, stream, step, element).
class DropoutRun final : public Executable {
 public:
  DropoutRun(const OpDesc& desc, int parts)
      : kernels_(kernels()),
        parts_(parts),
        elements_(desc.inputs[0].elements()),
        attrs_(desc.as<DropoutAttrs>()),
        scale_(static_cast<float>(1.0 / (1.0 - static_cast<double>(attrs_.probability)))) {}

  void run(const RunArgs& args) override {
    const auto& step = *input<StepScalars>(args, 1);
    parallel(parts_, [&](int part) {
      const Range range = share(elements_, kGrain, part, parts_);
      kernels_.dropout({input(args, 0) + range.begin, output(args, 0) + range.begin, range.begin,
                        range.size(), step.seed, attrs_.stream, step.step, attrs_.probability, scale_});
    });
  }

 private:
  const Kernels& kernels_;
  int parts_;
  std::int64_t elements_;
  DropoutAttrs attrs_;
  float scale_;
};

}  // namespace

void add_pointwise(Registry& registry) {
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    add_implementation(registry, "fused", {OpKind::relu, direction}, never_refuses,
                       prepare_as<PointwiseRun>());
    add_implementation(registry, "fused", {OpKind::dropout, direction}, never_refuses,
                       prepare_as<DropoutRun>());
  }
  add_implementation(registry, "fused", {OpKind::add, Direction::forward}, never_refuses,
                     prepare_as<PointwiseRun>());
}

}  // namespace quern::onednn
