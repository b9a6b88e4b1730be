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
    shift_h = draw(0, augment.shift);
    shift_w = draw(1, augment.shift);
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
    const Point centre{static_cast<double>(height - 1) / 2, static_cast<double>(width - 1) / 2};
    for (Index h = 0; h < height; ++h) {
      for (Index w = 0; w < width; ++w) {
        const Point source = transform.source_of({static_cast<double>(h), static_cast<double>(w)}, centre);
        for (Index c = 0; c < channels; ++c) {
          const double pixel =
              attrs.augment.enabled() ? image.bilinear(source.h, source.w, c) : image.at(h, w, c);
          x(n, h, w, c) = (pixel - mean) / stddev;
        }
      }
    }
    y[n] = labels[index];
  }
}

QUERN_REFERENCE_INSTANTIATE(input_batch_forward);

}  // namespace quern::reference
