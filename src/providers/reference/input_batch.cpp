#include <algorithm>
#include <cmath>
#include <numbers>

#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"
#include "quern/philox.hpp"

namespace quern::reference {

namespace {

/// The dataset's image `index` as values in [0, 1], zero outside of it.
struct Image {
  const std::uint8_t* pixels;
  Index height, width, channels;

  double at(Index h, Index w, Index c) const {
    if (h < 0 || h >= height || w < 0 || w >= width) return 0;
    return pixels[(h * width + w) * channels + c] / 255.0;
  }
  /// Left and right exchanged.
  double mirrored(double h, double w, Index c) const {
    return bilinear(h, static_cast<double>(width - 1) - w, c);
  }
  /// Between four pixels, linear in both coordinates.
  double bilinear(double h, double w, Index c) const {
    const double top = std::floor(h), left = std::floor(w);
    const double down = h - top, right = w - left;
    const auto row = static_cast<Index>(top), column = static_cast<Index>(left);
    return (1 - down) * ((1 - right) * at(row, column, c) + right * at(row, column + 1, c)) +
           down * ((1 - right) * at(row + 1, column, c) + right * at(row + 1, column + 1, c));
  }
};

struct Point {
  double h, w;
};

/// One sample's transformation: where an output pixel is read from.
struct Transform {
  double shift_h = 0, shift_w = 0, angle = 0, factor = 1, shear = 0;

  Transform(const Augment& augment, const StepScalars& step, Index sample) {
    const auto draw = [&](unsigned number, float limit) {
      const std::uint32_t bits = philox_u32(step.seed, RandomPurpose::augment, 0, step.step,
                                            8 * static_cast<std::uint64_t>(sample) + number);
      return (2 * static_cast<double>(uniform_from_u32(bits)) - 1) * static_cast<double>(limit);
    };
    constexpr double kRadians = std::numbers::pi / 180;
    const auto cut = [&](Index axis) {
      const std::uint64_t bits = philox_u32(step.seed, RandomPurpose::augment, 3, step.step,
                                            static_cast<std::uint64_t>(2 * sample + axis)) /
                                 256;
      const std::uint64_t places = 2 * static_cast<std::uint64_t>(augment.crop) + 1;
      return static_cast<double>(places * bits / 16777216) - augment.crop;
    };
    shift_h = draw(0, augment.shift) + cut(0);
    shift_w = draw(1, augment.shift) + cut(1);
    angle = draw(2, augment.rotate) * kRadians;
    factor = 1 + draw(3, augment.scale);
    shear = draw(4, augment.shear) * kRadians;
  }

  /// centre + A^-1 * (output - centre - shift) with A = factor * rotation * shear on (x, y) = (w, h).
  Point source_of(Point output, Point centre) const {
    const double x = output.w - centre.w - shift_w, y = output.h - centre.h - shift_h;
    const double unrotated_x = (std::cos(angle) * x + std::sin(angle) * y) / factor;
    const double unrotated_y = (-std::sin(angle) * x + std::cos(angle) * y) / factor;
    return {centre.h + unrotated_y, centre.w + unrotated_x - std::tan(shear) * unrotated_y};
  }
};

/// One sample's elastic distortion: how much further a pixel is read.
class Distortion {
 public:
  Distortion(const Augment& augment, const StepScalars& step, Index sample, Index height, Index width)
      : height_(height), width_(width) {
    for (Index k = 0; k < 2 * kNodes * kNodes; ++k) {
      const std::uint32_t bits = philox_u32(step.seed, RandomPurpose::augment, 1, step.step,
                                            static_cast<std::uint64_t>(2 * kNodes * kNodes * sample + k));
      draws_[k] =
          (2 * static_cast<double>(uniform_from_u32(bits)) - 1) * static_cast<double>(augment.elastic);
    }
  }

  Point at(Index h, Index w) const {
    Point sum{0, 0};
    for (Index i = 0; i < kNodes; ++i)
      for (Index j = 0; j < kNodes; ++j) {
        // A node's share falls linearly to zero at its neighbours.
        const double share = hat(position(h, height_) - static_cast<double>(i)) *
                             hat(position(w, width_) - static_cast<double>(j));
        sum.h += share * draws_[2 * (kNodes * i + j)];
        sum.w += share * draws_[2 * (kNodes * i + j) + 1];
      }
    return sum;
  }

 private:
  static constexpr Index kNodes = kElasticNodes;
  static double hat(double distance) { return std::max(0.0, 1 - std::abs(distance)); }
  static double position(Index pixel, Index extent) {
    return static_cast<double>(pixel * (kNodes - 1)) / static_cast<double>(std::max<Index>(1, extent - 1));
  }

  double draws_[2 * kNodes * kNodes];
  Index height_, width_;
};

/// One sample's erased square.
struct Erased {
  Index side, top, left;

  Erased(const Augment& augment, const StepScalars& step, Index sample, Index height, Index width) {
    const auto below = [&](unsigned number, Index limit) {
      const std::uint64_t draw = philox_u32(step.seed, RandomPurpose::augment, 0, step.step,
                                            8 * static_cast<std::uint64_t>(sample) + number) /
                                 256;
      return static_cast<Index>(static_cast<std::uint64_t>(limit) * draw / 16777216);
    };
    side = below(5, augment.erase + 1);
    top = below(6, height) - side / 2;
    left = below(7, width) - side / 2;
  }
  bool holds(Index h, Index w) const { return h >= top && h - top < side && w >= left && w - left < side; }
};

}  // namespace

template <class Real>
void input_batch_forward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<InputBatchAttrs>();
  const double mean = attrs.mean, stddev = attrs.stddev;
  Operands<Real> operands(desc, args);
  const auto* const images = operands.template raw_input<std::uint8_t>();
  const auto* const labels = operands.template raw_input<std::uint8_t>();
  const auto* const order = operands.template raw_input<std::uint32_t>();
  const StepScalars step = operands.step();
  const View<Real> x = operands.output();
  auto* const y = operands.template raw_output<std::int32_t>();

  const Index dataset = desc.inputs[0].shape[0], indices = desc.inputs[2].shape[0];
  const Index samples = x.extent(0), height = x.extent(1), width = x.extent(2), channels = x.extent(3);
  QUERN_REQUIRE(step.order_offset + samples <= indices, "input_batch: {} samples from {} on, but {} indices",
                samples, step.order_offset, indices);
  for (Index n = 0; n < samples; ++n)
    QUERN_REQUIRE(order[step.order_offset + n] < dataset, "input_batch: index {} of sample {}, but {} images",
                  order[step.order_offset + n], n, dataset);

#pragma omp parallel for schedule(static)
  for (Index n = 0; n < samples; ++n) {
    const Index index = order[step.order_offset + n];
    const Image image{images + index * height * width * channels, height, width, channels};
    const Transform transform(attrs.augment, step, n);
    const Distortion distortion(attrs.augment, step, n, height, width);
    const Erased erased(attrs.augment, step, n, height, width);
    const bool flipped = uniform_from_u32(philox_u32(step.seed, RandomPurpose::augment, 2, step.step,
                                                     static_cast<std::uint64_t>(n))) < attrs.augment.flip;
    const Point centre{static_cast<double>(height - 1) / 2, static_cast<double>(width - 1) / 2};
    for (Index h = 0; h < height; ++h) {
      for (Index w = 0; w < width; ++w) {
        Point source = transform.source_of({static_cast<double>(h), static_cast<double>(w)}, centre);
        if (attrs.augment.elastic != 0) {
          const Point further = distortion.at(h, w);
          source = {source.h + further.h, source.w + further.w};
        }
        for (Index c = 0; c < channels; ++c) {
          const double pixel = erased.holds(h, w)        ? 0
                               : flipped                 ? image.mirrored(source.h, source.w, c)
                               : attrs.augment.enabled() ? image.bilinear(source.h, source.w, c)
                                                         : image.at(h, w, c);
          x(n, h, w, c) = (pixel - mean) / stddev;
        }
      }
    }
    y[n] = labels[index];
  }
}

QUERN_REFERENCE_INSTANTIATE(input_batch_forward);

}  // namespace quern::reference
