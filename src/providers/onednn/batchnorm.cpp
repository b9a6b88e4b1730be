// Batch normalisation in as few passes as it allows: forward reads x once when the producer brings statistics
// (twice otherwise) and writes the result, pooled or not; backward reads twice (sums, then gradients).
//
// Version history (seed-bn at batch 64, 2 cores; the first layer's x is 6.4 MB, in the third-level cache):
//   v1  predicted: forward + pool 0.15 ms, pool + backward + mask 0.45 ms (x read twice, dx written).

#include <algorithm>
#include <cmath>

#include "providers/onednn/moments.hpp"
#include "providers/onednn/pooling.hpp"
#include "providers/onednn/support.hpp"

namespace quern::onednn {

namespace {

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

struct Rows {
  std::int64_t rows;
  int channels;
  explicit Rows(const Shape& shape)
      : rows(shape.elements() / shape[shape.rank() - 1]),
        channels(static_cast<int>(shape[shape.rank() - 1])) {}
};

/// Training forward and inference.
class BatchNormForward final : public ImageExecutable {
 public:
  BatchNormForward(const OpDesc& desc, int parts)
      : ImageExecutable(parts, desc.inputs[0].shape[0]),
        kernels_(kernels()),
        training_(desc.op.direction == Direction::forward),
        attrs_(desc.as<BatchNormAttrs>()),
        x_(desc.inputs[0].shape) {
    if (attrs_.pool) pooling_.emplace(desc.inputs[0].shape, desc.outputs[0].shape, attrs_.window);
    Layout layout;
    mean_ = layout.add<float>(size(x_.channels));
    scale_ = layout.add<float>(size(x_.channels));
    beta_ = layout.add<float>(size(x_.channels));
    if (takes_moments()) {
      moments_step_ = Moments::bytes(x_.channels);
      moments_ = layout.add<std::byte>(moments_step_ * size(parts));
    }
    bytes_ = layout.bytes();
  }

 private:
  /// The visitor of rows [begin, end) of an image. (Here, as its type must be known below.)
  auto normalise_pool(const RunArgs& args) const {
    return [this, &args](std::int64_t image, int begin, int end) {
      MaxPool a;
      a.pooling = pooling_->geometry();
      a.mean = at<float>(args.workspace, mean_);
      a.scale = at<float>(args.workspace, scale_);
      a.beta = at<float>(args.workspace, beta_);
      a.relu = attrs_.relu;
      a.begin = begin;
      a.end = end;
      a.x = input(args, 0) + image * pooling_->input_image();
      a.y = output(args, 0) + image * pooling_->output_image();
      a.argmax = training_ ? output<std::uint8_t>(args, 4) + image * pooling_->output_image() : nullptr;
      kernels_.max_pool(a);
    };
  }

 public:
  std::size_t workspace_bytes() const override { return bytes_; }

  bool reads_by_image(std::size_t slot) const override { return slot == 0 && !takes_moments(); }
  bool writes_by_image(std::size_t slot) const override { return slot == 0 || slot == 4; }
  int prepare_phases() const override { return takes_moments() ? 2 : 1; }
  void prepare(const RunArgs& args, int phase, int part) override {
    if (phase == 0 && takes_moments())
      measure(args, part);
    else
      prepare_constants(args, part);
  }
  void run_images(const RunArgs& args, int, std::int64_t begin, std::int64_t end) override {
    const std::int64_t rows = x_.rows / images_;
    if (pooling_)
      pooling_->for_output_rows({begin, end}, normalise_pool(args));
    else
      normalise_rows(args, {begin * rows, end * rows});
  }

 protected:
  void run_share(const RunArgs& args, int part) override {
    if (pooling_)
      pooling_->for_output_rows(part, parts_, normalise_pool(args));
    else
      normalise_rows(args, share(x_.rows, part, parts_));
  }

 private:
  /// Whether x is read for its statistics too, because its producer has none.
  bool takes_moments() const { return training_ && !attrs_.stats; }

  void measure(const RunArgs& args, int part) const {
    const Range rows = share(x_.rows, part, parts_);
    Moments moments(at<void>(args.workspace, moments_ + moments_step_ * size(part)), x_.channels);
    moments.reset();
    moments.add(kernels_, input(args, 0) + rows.begin * x_.channels, rows.size());
  }

  void prepare_constants(const RunArgs& args, int part) const {
    const Range range = share(x_.channels, part, parts_);
    const float *gamma = input(args, 1), *beta = input(args, 2);
    const float *running_mean = input(args, 3), *running_var = input(args, 4);
    const auto epsilon = static_cast<double>(attrs_.epsilon);
    for (std::int64_t c = range.begin; c < range.end; ++c) {
      double mean = 0, variance = 0;
      if (!training_) {
        mean = static_cast<double>(running_mean[c]);
        variance = static_cast<double>(running_var[c]);
      } else if (attrs_.stats) {
        mean = static_cast<double>(input(args, 5)[c]);
        variance = static_cast<double>(input(args, 5)[x_.channels + c]);
      } else {
        const auto result =
            Moments::combine(at<void>(args.workspace, moments_), moments_step_, parts_, x_.channels, c);
        mean = result.mean;
        variance = result.variance;
      }
      const double inverse = 1.0 / std::sqrt(variance + epsilon);
      const double scale = static_cast<double>(gamma[c]) * inverse;
      const auto rounded = static_cast<float>(mean);
      at<float>(args.workspace, mean_)[c] = rounded;
      at<float>(args.workspace, scale_)[c] = static_cast<float>(scale);
      // What the mean loses by rounding goes into the offset.
      at<float>(args.workspace, beta_)[c] =
          static_cast<float>(static_cast<double>(beta[c]) - (mean - static_cast<double>(rounded)) * scale);
      if (!training_) continue;
      output(args, 1)[c] = rounded;
      output(args, 1)[x_.channels + c] = static_cast<float>(inverse);
      const auto keep = static_cast<double>(attrs_.momentum);
      const auto update = [&](float& running, double batch) {
        running = static_cast<float>(keep * static_cast<double>(running) + (1.0 - keep) * batch);
      };
      output(args, 2)[c] = running_mean[c];
      output(args, 3)[c] = running_var[c];
      update(output(args, 2)[c], mean);
      update(output(args, 3)[c], variance);
    }
  }

  void normalise_rows(const RunArgs& args, Range rows) const {
    const std::int64_t begin = rows.begin * x_.channels;
    kernels_.normalise({input(args, 0) + begin, output(args, 0) + begin, rows.size(), x_.channels,
                        at<float>(args.workspace, mean_), at<float>(args.workspace, scale_),
                        at<float>(args.workspace, beta_), attrs_.relu});
  }

  const Kernels& kernels_;
  bool training_;
  BatchNormAttrs attrs_;
  Rows x_;
  std::optional<PoolingPlan> pooling_;
  std::size_t mean_ = 0, scale_ = 0, beta_ = 0, moments_ = 0, moments_step_ = 0, bytes_ = 0;
};

/// With g = dy (where y > 0), xhat = (x - mean) / deviation and M rows (Ioffe & Szegedy 2015, section 3):
/// dbeta = sum g, dgamma = sum g * xhat, dx = gamma / deviation * (g - dbeta / M - xhat * dgamma / M).
class BatchNormBackward final : public ImageExecutable {
 public:
  BatchNormBackward(const OpDesc& desc, int parts)
      : ImageExecutable(parts, desc.inputs[1].shape[0]),
        kernels_(kernels()),
        attrs_(desc.as<BatchNormAttrs>()),
        x_(desc.inputs[1].shape),
        padded_(round_up(x_.channels, 16)) {
    if (attrs_.pool) pooling_.emplace(desc.inputs[1].shape, desc.inputs[0].shape, attrs_.window);
    Layout layout;
    scale_ = layout.add<float>(size(x_.channels));
    offset_ = layout.add<float>(size(x_.channels));
    slope_ = layout.add<float>(size(x_.channels));
    Layout own;
    sums_ = own.add<float>(size(2 * padded_));
    totals_ = own.add<double>(size(2 * x_.channels));
    own_step_ = own.bytes();
    own_ = layout.add<std::byte>(own_step_ * size(parts));
    bytes_ = layout.bytes();
  }

 private:
  /// The visitor of rows [begin, end) of an image. (Here, as its type must be known below.)
  auto apply_pool(const RunArgs& args) const {
    return [this, &args](std::int64_t image, int begin, int end) {
      NormaliseBackward a = constants(args);
      const std::int64_t in = image * pooling_->input_image(), out = image * pooling_->output_image();
      a.dy = input(args, 0) + out;
      a.x = input(args, 1) + in;
      a.y = attrs_.relu ? y(args) + out : nullptr;
      a.dx = output(args, 0) + in;
      kernels_.normalise_pool_backward({pooling_->geometry(), begin, end, argmax(args) + out, a});
    };
  }

 public:
  std::size_t workspace_bytes() const override { return bytes_; }

  bool reads_by_image(std::size_t) const override { return false; }  // the sums read them before
  bool writes_by_image(std::size_t slot) const override { return slot == 0; }
  int prepare_phases() const override { return 2; }
  void prepare(const RunArgs& args, int phase, int part) override {
    phase == 0 ? reduce(args, part) : prepare_constants(args, part);
  }
  void run_images(const RunArgs& args, int, std::int64_t begin, std::int64_t end) override {
    const std::int64_t rows = x_.rows / images_;
    if (pooling_)
      pooling_->for_input_rows({begin, end}, apply_pool(args));
    else
      apply_rows(args, {begin * rows, end * rows});
  }

 protected:
  void run_share(const RunArgs& args, int part) override {
    if (pooling_)
      pooling_->for_input_rows(part, parts_, apply_pool(args));
    else
      apply_rows(args, share(x_.rows, part, parts_));
  }

 private:
  const float* y(const RunArgs& args) const { return attrs_.relu ? input(args, 4) : nullptr; }
  const std::uint8_t* argmax(const RunArgs& args) const {
    return input<std::uint8_t>(args, attrs_.relu ? 5 : 4);
  }

  void reduce(const RunArgs& args, int part) const {
    std::byte* own = at<std::byte>(args.workspace, own_ + own_step_ * size(part));
    float* sums = at<float>(own, sums_);
    double* totals = at<double>(own, totals_);
    std::fill_n(sums, 2 * padded_, 0.0f);
    std::fill_n(totals, 2 * x_.channels, 0.0);
    // Single precision over a block of rows, double over the blocks.
    const auto flush = [&] {
      for (int c = 0; c < x_.channels; ++c) {
        totals[c] += static_cast<double>(sums[c]);
        totals[x_.channels + c] += static_cast<double>(sums[padded_ + c]);
      }
      std::fill_n(sums, 2 * padded_, 0.0f);
    };
    const float *dy = input(args, 0), *x = input(args, 1), *gate = y(args), *mean = input(args, 3);
    constexpr std::int64_t kRows = 512;
    if (!pooling_) {
      const Range rows = share(x_.rows, part, parts_);
      for (std::int64_t row = rows.begin; row < rows.end; row += kRows) {
        const std::int64_t begin = row * x_.channels;
        kernels_.normalise_reduce({dy + begin, x + begin, gate != nullptr ? gate + begin : nullptr,
                                   std::min(kRows, rows.end - row), x_.channels, mean, sums, sums + padded_});
        flush();
      }
      return;
    }
    NormalisePoolReduce a;
    a.pooling = pooling_->geometry();
    a.mean = mean;
    a.sum = sums;
    a.sum_x = sums + padded_;
    const int band = static_cast<int>(std::max<std::int64_t>(1, kRows / a.pooling.q));
    pooling_->for_output_rows(part, parts_, [&](std::int64_t image, int begin, int end) {
      const std::int64_t out = image * pooling_->output_image();
      a.dy = dy + out;
      a.x = x + image * pooling_->input_image();
      a.y = gate != nullptr ? gate + out : nullptr;
      a.argmax = argmax(args) + out;
      for (int p = begin; p < end; p += band) {
        a.begin = p;
        a.end = std::min(p + band, end);
        kernels_.normalise_pool_reduce(a);
        flush();
      }
    });
  }

  void prepare_constants(const RunArgs& args, int part) const {
    const Range range = share(x_.channels, part, parts_);
    const auto rows = static_cast<double>(x_.rows);
    for (std::int64_t c = range.begin; c < range.end; ++c) {
      double sum = 0, sum_x = 0;
      for (int from = 0; from < parts_; ++from) {
        const double* totals = at<double>(args.workspace, own_ + own_step_ * size(from) + totals_);
        sum += totals[c];
        sum_x += totals[x_.channels + c];
      }
      const auto inverse = static_cast<double>(input(args, 3)[x_.channels + c]);
      const double dgamma = sum_x * inverse;
      output(args, 1)[c] = static_cast<float>(dgamma);
      output(args, 2)[c] = static_cast<float>(sum);
      at<float>(args.workspace, scale_)[c] =
          static_cast<float>(static_cast<double>(input(args, 2)[c]) * inverse);
      at<float>(args.workspace, offset_)[c] = static_cast<float>(sum / rows);
      at<float>(args.workspace, slope_)[c] = static_cast<float>(dgamma * inverse / rows);
    }
  }

  NormaliseBackward constants(const RunArgs& args) const {
    NormaliseBackward a;
    a.channels = x_.channels;
    a.mean = input(args, 3);
    a.scale = at<float>(args.workspace, scale_);
    a.offset = at<float>(args.workspace, offset_);
    a.slope = at<float>(args.workspace, slope_);
    a.mask = attrs_.mask;
    return a;
  }

  void apply_rows(const RunArgs& args, Range rows) const {
    NormaliseBackward a = constants(args);
    const std::int64_t begin = rows.begin * x_.channels;
    a.dy = input(args, 0) + begin;
    a.x = input(args, 1) + begin;
    a.y = attrs_.relu ? y(args) + begin : nullptr;
    a.rows = rows.size();
    a.dx = output(args, 0) + begin;
    kernels_.normalise_backward(a);
  }

  const Kernels& kernels_;
  BatchNormAttrs attrs_;
  Rows x_;
  std::int64_t padded_;
  std::optional<PoolingPlan> pooling_;
  std::size_t scale_ = 0, offset_ = 0, slope_ = 0, own_ = 0, own_step_ = 0, bytes_ = 0;
  std::size_t sums_ = 0, totals_ = 0;  // within a part's own memory
};

}  // namespace

void add_batchnorm(Registry& registry) {
  for (const Direction direction : {Direction::forward, Direction::inference})
    add_implementation(registry, "fused", {OpKind::batchnorm, direction}, never_refuses,
                       prepare_as<BatchNormForward>());
  add_implementation(registry, "fused", {OpKind::batchnorm, Direction::backward}, never_refuses,
                     prepare_as<BatchNormBackward>());
}

}  // namespace quern::onednn
