// Gathers a batch of uint8 images by the shuffled order, normalises and, on request, augments them. A pixel
// has only 256 values, so normalisation is a table.
//
// Version history (MNIST, batch 64, 2 cores of a Xeon; 0.25 MB, 50 thousand look-ups: 10 us at one a cycle):
//   v1  one image after the other: 44 us, most of it the wait for images that no cache holds.
//   v2  the next images fetched meanwhile. Predicted 20 us, measured 25.

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "providers/onednn/support.hpp"
#include "quern/error.hpp"
#include "quern/philox.hpp"

namespace quern::onednn {

namespace {

// Images of a shuffled batch lie anywhere: so many are fetched ahead, each up to where the processor sees a
// pattern.
constexpr std::int64_t kImagesAhead = 4, kBytesAhead = 1024;

/// Where the output pixel (h, w) of one sample is read: an affine map of (h, w). See Augment in quern/op.hpp.
struct AffineMap {
  double h0, h_by_h, h_by_w;
  double w0, w_by_h, w_by_w;

  AffineMap(const Augment& augment, const StepScalars& step, std::int64_t sample, int height, int width) {
    const auto draw = [&](unsigned number, float limit) {
      const std::uint32_t bits = philox_u32(step.seed, RandomPurpose::augment, 0, step.step,
                                            8 * static_cast<std::uint64_t>(sample) + number);
      return (2 * static_cast<double>(uniform_from_u32(bits)) - 1) * static_cast<double>(limit);
    };
    constexpr double kRadians = std::numbers::pi / 180;
    // Without a crop there is one place to cut at: a shift of zero.
    const auto cut = [&](unsigned number) {
      const std::uint32_t bits = philox_u32(step.seed, RandomPurpose::augment, 3, step.step,
                                            2 * static_cast<std::uint64_t>(sample) + number);
      return below_from_u32(bits, 2 * augment.crop + 1) - augment.crop;
    };
    const double shift_h = draw(0, augment.shift) + cut(0), shift_w = draw(1, augment.shift) + cut(1);
    const double angle = draw(2, augment.rotate) * kRadians;
    const double factor = 1 + draw(3, augment.scale);
    const double slope = std::tan(draw(4, augment.shear) * kRadians);
    const double cosine = std::cos(angle) / factor, sine = std::sin(angle) / factor;
    const double centre_h = (height - 1) / 2.0, centre_w = (width - 1) / 2.0;
    // Undo the rotation and the scale, then the shear.
    h_by_h = cosine;
    h_by_w = -sine;
    w_by_h = sine - slope * h_by_h;
    w_by_w = cosine - slope * h_by_w;
    const double from_h = centre_h + shift_h, from_w = centre_w + shift_w;
    h0 = centre_h - h_by_h * from_h - h_by_w * from_w;
    w0 = centre_w - w_by_h * from_h - w_by_w * from_w;
  }
};

/// What is added to the place an output pixel is read at. See Augment::elastic.
class ElasticField {
 public:
  ElasticField(const Augment& augment, const StepScalars& step, std::int64_t sample, int height, int width)
      : enabled_(augment.elastic != 0),
        per_row_((kElasticNodes - 1) / std::max(1.0, height - 1.0)),
        per_column_((kElasticNodes - 1) / std::max(1.0, width - 1.0)) {
    if (!enabled_) return;
    for (std::size_t k = 0; k < draws_.size(); ++k) {
      const std::uint32_t bits = philox_u32(step.seed, RandomPurpose::augment, 1, step.step,
                                            draws_.size() * static_cast<std::uint64_t>(sample) + k);
      draws_[k] =
          (2 * static_cast<double>(uniform_from_u32(bits)) - 1) * static_cast<double>(augment.elastic);
    }
  }
  bool enabled() const { return enabled_; }
  /// Adds to the two coordinates.
  void move(int h, int w, double& source_h, double& source_w) const {
    const double row = h * per_row_, column = w * per_column_;
    const int i = std::min(static_cast<int>(row), kElasticNodes - 2);
    const int j = std::min(static_cast<int>(column), kElasticNodes - 2);
    const double down = row - i, right = column - j;
    const auto between = [&](int axis) {
      const double* node = &draws_[static_cast<std::size_t>(2 * (kElasticNodes * i + j) + axis)];
      return (1 - down) * ((1 - right) * node[0] + right * node[2]) +
             down * ((1 - right) * node[2 * kElasticNodes] + right * node[2 * kElasticNodes + 2]);
    };
    source_h += between(0);
    source_w += between(1);
  }

 private:
  bool enabled_;
  double per_row_, per_column_;
  std::array<double, 2 * kElasticNodes * kElasticNodes> draws_{};
};

/// Whether the sample is its mirror image. See Augment::flip.
bool is_mirrored(const Augment& augment, const StepScalars& step, std::int64_t sample) {
  return augment.flip > 0 && uniform_from_u32(philox_u32(step.seed, RandomPurpose::augment, 2, step.step,
                                                         static_cast<std::uint64_t>(sample))) < augment.flip;
}

/// The rows and columns that are erased. See Augment::erase.
struct ErasedSquare {
  int top = 0, left = 0, bottom = 0, right = 0;

  ErasedSquare(const Augment& augment, const StepScalars& step, std::int64_t sample, int height, int width) {
    if (augment.erase == 0) return;
    const auto below = [&](unsigned number, int limit) {
      const std::uint32_t bits = philox_u32(step.seed, RandomPurpose::augment, 0, step.step,
                                            8 * static_cast<std::uint64_t>(sample) + number);
      return below_from_u32(bits, limit);
    };
    const int side = below(5, augment.erase + 1);
    const int first_row = below(6, height) - side / 2, first_column = below(7, width) - side / 2;
    top = std::max(0, first_row);
    left = std::max(0, first_column);
    bottom = std::min(height, first_row + side);
    right = std::min(width, first_column + side);
  }
};

class InputBatchRun final : public Executable {
 public:
  InputBatchRun(const OpDesc& desc, int parts)
      : parts_(parts),
        attrs_(desc.as<InputBatchAttrs>()),
        dataset_(desc.inputs[0].shape[0]),
        indices_(desc.inputs[2].shape[0]),
        samples_(desc.outputs[0].shape[0]),
        height_(static_cast<int>(desc.inputs[0].shape[1])),
        width_(static_cast<int>(desc.inputs[0].shape[2])),
        channels_(static_cast<int>(desc.inputs[0].shape[3])) {
    for (std::size_t value = 0; value < normalised_.size(); ++value)
      normalised_[value] = static_cast<float>((static_cast<double>(value) / 255.0 - mean()) / deviation());
  }

  void run(const RunArgs& args) override {
    const auto& step = *input<StepScalars>(args, 3);
    const auto* order = input<std::uint32_t>(args, 2) + step.order_offset;
    QUERN_REQUIRE(step.order_offset + samples_ <= indices_,
                  "input_batch: {} samples from {} on, but {} indices", samples_, step.order_offset,
                  indices_);
    for (std::int64_t n = 0; n < samples_; ++n)
      QUERN_REQUIRE(order[n] < dataset_, "input_batch: index {} of sample {}, but {} images", order[n], n,
                    dataset_);
    const std::int64_t pixels = std::int64_t{height_} * width_ * channels_;
    parallel(parts_, [&](int part) {
      const Range own = share(samples_, part, parts_);
      const auto image_of = [&](std::int64_t n) { return input<std::uint8_t>(args, 0) + order[n] * pixels; };
      const auto fetch = [&](std::int64_t n) {
        if (n >= own.end) return;
        for (std::int64_t i = 0; i < std::min(pixels, kBytesAhead); i += 64)
          __builtin_prefetch(image_of(n) + i);
      };
      for (std::int64_t n = own.begin; n < own.begin + kImagesAhead; ++n) fetch(n);
      for (std::int64_t n = own.begin; n < own.end; ++n) {
        fetch(n + kImagesAhead);
        const std::uint8_t* image = image_of(n);
        float* x = output(args, 0) + n * pixels;
        if (attrs_.augment.enabled())
          augment(image, step, n, x);
        else
          for (std::int64_t i = 0; i < pixels; ++i) x[i] = normalised_[image[i]];
        output<std::int32_t>(args, 1)[n] = input<std::uint8_t>(args, 1)[order[n]];
      }
    });
  }

 private:
  double mean() const { return static_cast<double>(attrs_.mean); }
  double deviation() const { return static_cast<double>(attrs_.stddev); }

  void augment(const std::uint8_t* image, const StepScalars& step, std::int64_t sample, float* out) const {
    const Augment& drawn = attrs_.augment;
    warp(image, AffineMap(drawn, step, sample, height_, width_),
         ElasticField(drawn, step, sample, height_, width_), is_mirrored(drawn, step, sample), out);
    const ErasedSquare square(drawn, step, sample, height_, width_);
    for (int h = square.top; h < square.bottom; ++h)
      for (int w = square.left; w < square.right; ++w)
        std::fill_n(out + (std::int64_t{h} * width_ + w) * channels_, channels_, normalised_[0]);
  }

  /// Bilinear between four pixels, zero outside the image.
  void warp(const std::uint8_t* image, const AffineMap& map, const ElasticField& field, bool mirrored,
            float* out) const {
    const auto scale = static_cast<float>(1.0 / (255.0 * deviation()));
    const auto offset = static_cast<float>(mean() / deviation());
    const auto pixel = [&](int row, int column, int c) -> float {
      if (row < 0 || row >= height_ || column < 0 || column >= width_) return 0;
      return image[(std::int64_t{row} * width_ + column) * channels_ + c];
    };
    for (int h = 0; h < height_; ++h) {
      for (int w = 0; w < width_; ++w, out += channels_) {
        double source_h = map.h0 + map.h_by_h * h + map.h_by_w * w;
        double source_w = map.w0 + map.w_by_h * h + map.w_by_w * w;
        if (field.enabled()) field.move(h, w, source_h, source_w);
        if (mirrored) source_w = width_ - 1 - source_w;
        // Nothing of the image is within reach; also keeps the integers below in range.
        if (!(source_h > -1 && source_h < height_ && source_w > -1 && source_w < width_)) {
          std::fill_n(out, channels_, -offset);
          continue;
        }
        const double top = std::floor(source_h), left = std::floor(source_w);
        const auto down = static_cast<float>(source_h - top), right = static_cast<float>(source_w - left);
        const int row = static_cast<int>(top), column = static_cast<int>(left);
        for (int c = 0; c < channels_; ++c) {
          const float above = (1 - right) * pixel(row, column, c) + right * pixel(row, column + 1, c);
          const float below = (1 - right) * pixel(row + 1, column, c) + right * pixel(row + 1, column + 1, c);
          out[c] = ((1 - down) * above + down * below) * scale - offset;
        }
      }
    }
  }

  int parts_;
  InputBatchAttrs attrs_;
  std::int64_t dataset_, indices_, samples_;
  int height_, width_, channels_;
  std::array<float, 256> normalised_{};
};

}  // namespace

void add_input_batch(Registry& registry) {
  add_implementation(registry, "fused", {OpKind::input_batch, Direction::forward}, never_refuses,
                     prepare_as<InputBatchRun>());
}

}  // namespace quern::onednn
