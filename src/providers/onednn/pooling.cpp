#include "providers/onednn/pooling.hpp"

#include <algorithm>

#include "providers/onednn/support.hpp"

namespace quern::onednn {

namespace {

/// For each input position the outputs [begin, end) whose window covers it.
void cover(int in, int out, int size, int stride, int pad, std::vector<std::int32_t>& begin,
           std::vector<std::int32_t>& end) {
  for (int i = 0; i < in; ++i) {
    const int last = (i + pad) / stride;  // the window that starts at or before i
    const int beyond = i + pad - size;    // windows that start here or before have ended
    const int first = beyond < 0 ? 0 : beyond / stride + 1;
    begin.push_back(std::min(first, out));
    end.push_back(std::max(std::min(last + 1, out), std::min(first, out)));
  }
}

class MaxPoolForward final : public ImageExecutable {
 public:
  MaxPoolForward(const OpDesc& desc, int parts)
      : ImageExecutable(parts, desc.inputs[0].shape[0]),
        kernels_(kernels()),
        argmax_(desc.as<Pool2dAttrs>().save_argmax),
        plan_(desc.inputs[0].shape, desc.outputs[0].shape, desc.as<Pool2dAttrs>().window) {}

 private:
  /// The visitor of rows [begin, end) of an image. (Here, as its type must be known below.)
  auto pool(const RunArgs& args) const {
    return [this, &args](std::int64_t image, int begin, int end) {
      MaxPool a;
      a.pooling = plan_.geometry();
      a.begin = begin;
      a.end = end;
      a.x = input(args, 0) + image * plan_.input_image();
      a.y = output(args, 0) + image * plan_.output_image();
      if (argmax_) a.argmax = output<std::uint8_t>(args, 1) + image * plan_.output_image();
      kernels_.max_pool(a);
    };
  }

 public:
  bool reads_by_image(std::size_t) const override { return true; }
  bool writes_by_image(std::size_t) const override { return true; }
  void run_images(const RunArgs& args, int, std::int64_t begin, std::int64_t end) override {
    plan_.for_output_rows({begin, end}, pool(args));
  }

 protected:
  void run_share(const RunArgs& args, int part) override { plan_.for_output_rows(part, parts_, pool(args)); }

 private:
  const Kernels& kernels_;
  bool argmax_;
  PoolingPlan plan_;
};

class MaxPoolBackwardRun final : public ImageExecutable {
 public:
  MaxPoolBackwardRun(const OpDesc& desc, int parts)
      : ImageExecutable(parts, desc.inputs[0].shape[0]),
        kernels_(kernels()),
        mask_(desc.as<Pool2dAttrs>().mask),
        plan_(desc.outputs[0].shape, desc.inputs[0].shape, desc.as<Pool2dAttrs>().window) {}

 private:
  /// The visitor of rows [begin, end) of an image. (Here, as its type must be known below.)
  auto route(const RunArgs& args) const {
    return [this, &args](std::int64_t image, int begin, int end) {
      const std::int64_t out = image * plan_.output_image();
      MaxPoolBackward a;
      a.pooling = plan_.geometry();
      a.begin = begin;
      a.end = end;
      a.dy = input(args, 0) + out;
      a.argmax = input<std::uint8_t>(args, 1) + out;
      if (mask_) a.y = input(args, 2) + out;
      a.dx = output(args, 0) + image * plan_.input_image();
      kernels_.max_pool_backward(a);
    };
  }

 public:
  bool reads_by_image(std::size_t) const override { return true; }
  bool writes_by_image(std::size_t) const override { return true; }
  void run_images(const RunArgs& args, int, std::int64_t begin, std::int64_t end) override {
    plan_.for_input_rows({begin, end}, route(args));
  }

 protected:
  void run_share(const RunArgs& args, int part) override { plan_.for_input_rows(part, parts_, route(args)); }

 private:
  const Kernels& kernels_;
  bool mask_;
  PoolingPlan plan_;
};

class AveragePoolForward final : public Executable {
 public:
  AveragePoolForward(const OpDesc& desc, int parts)
      : kernels_(kernels()),
        parts_(parts),
        include_pad_(desc.as<Pool2dAttrs>().count_include_pad),
        plan_(desc.inputs[0].shape, desc.outputs[0].shape, desc.as<Pool2dAttrs>().window) {}

  void run(const RunArgs& args) override {
    parallel(parts_, [&](int part) {
      plan_.for_output_rows(part, parts_, [&](std::int64_t image, int begin, int end) {
        kernels_.average_pool({plan_.geometry(), begin, end, include_pad_,
                               input(args, 0) + image * plan_.input_image(),
                               output(args, 0) + image * plan_.output_image()});
      });
    });
  }

 private:
  const Kernels& kernels_;
  int parts_;
  bool include_pad_;
  PoolingPlan plan_;
};

class AveragePoolBackwardRun final : public Executable {
 public:
  AveragePoolBackwardRun(const OpDesc& desc, int parts)
      : kernels_(kernels()),
        parts_(parts),
        attrs_(desc.as<Pool2dAttrs>()),
        plan_(desc.outputs[0].shape, desc.inputs[0].shape, attrs_.window) {}

  void run(const RunArgs& args) override {
    parallel(parts_, [&](int part) {
      plan_.for_input_rows(part, parts_, [&](std::int64_t image, int begin, int end) {
        const std::int64_t in = image * plan_.input_image();
        kernels_.average_pool_backward({plan_.geometry(), begin, end, attrs_.count_include_pad,
                                        input(args, 0) + image * plan_.output_image(),
                                        attrs_.mask ? input(args, 1) + in : nullptr, output(args, 0) + in});
      });
    });
  }

 private:
  const Kernels& kernels_;
  int parts_;
  Pool2dAttrs attrs_;
  PoolingPlan plan_;
};

class GlobalPoolRun final : public ImageExecutable {
 public:
  GlobalPoolRun(const OpDesc& desc, int parts)
      : ImageExecutable(parts, desc.inputs[0].shape[0]),
        kernels_(kernels()),
        forward_(desc.op.direction == Direction::forward),
        mask_(desc.as<GlobalPoolAttrs>().mask) {
    const Shape& x = forward_ ? desc.inputs[0].shape : desc.outputs[0].shape;
    rows_ = x[1] * x[2];
    channels_ = static_cast<int>(x[3]);
  }

  bool reads_by_image(std::size_t) const override { return true; }
  bool writes_by_image(std::size_t) const override { return true; }
  void run_images(const RunArgs& args, int, std::int64_t begin, std::int64_t end) override {
    for (std::int64_t n = begin; n < end; ++n) {
      const std::int64_t image = n * rows_ * channels_, row = n * channels_;
      if (forward_)
        kernels_.global_pool({rows_, channels_, input(args, 0) + image, nullptr, output(args, 0) + row});
      else
        kernels_.global_pool_backward({rows_, channels_, input(args, 0) + row,
                                       mask_ ? input(args, 1) + image : nullptr, output(args, 0) + image});
    }
  }

 private:
  const Kernels& kernels_;
  bool forward_, mask_;
  std::int64_t rows_ = 0;
  int channels_ = 0;
};

}  // namespace

PoolingPlan::PoolingPlan(const Shape& input, const Shape& output, const Window& window) : images_(input[0]) {
  const auto extent = [](const Shape& shape, int axis) { return static_cast<int>(shape[axis]); };
  pooling_.h = extent(input, 1);
  pooling_.w = extent(input, 2);
  pooling_.channels = extent(input, 3);
  pooling_.p = extent(output, 1);
  pooling_.q = extent(output, 2);
  pooling_.r = window.r;
  pooling_.s = window.s;
  pooling_.stride_h = window.stride_h;
  pooling_.stride_w = window.stride_w;
  pooling_.pad_top = window.pad_top;
  pooling_.pad_left = window.pad_left;
  cover(pooling_.h, pooling_.p, window.r, window.stride_h, window.pad_top, p_begin_, p_end_);
  cover(pooling_.w, pooling_.q, window.s, window.stride_w, window.pad_left, q_begin_, q_end_);
}

Pooling PoolingPlan::geometry() const noexcept {
  Pooling geometry = pooling_;
  geometry.p_begin = p_begin_.data();
  geometry.p_end = p_end_.data();
  geometry.q_begin = q_begin_.data();
  geometry.q_end = q_end_.data();
  return geometry;
}

void add_pooling(Registry& registry) {
  add_implementation(registry, "fused", {OpKind::maxpool2d, Direction::forward}, never_refuses,
                     prepare_as<MaxPoolForward>());
  add_implementation(registry, "fused", {OpKind::maxpool2d, Direction::backward}, never_refuses,
                     prepare_as<MaxPoolBackwardRun>());
  add_implementation(registry, "fused", {OpKind::avgpool2d, Direction::forward}, never_refuses,
                     prepare_as<AveragePoolForward>());
  add_implementation(registry, "fused", {OpKind::avgpool2d, Direction::backward}, never_refuses,
                     prepare_as<AveragePoolBackwardRun>());
  for (const Direction direction : {Direction::forward, Direction::backward})
    add_implementation(registry, "fused", {OpKind::global_avgpool, direction}, never_refuses,
                       prepare_as<GlobalPoolRun>());
}

}  // namespace quern::onednn
