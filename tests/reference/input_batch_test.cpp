#include <cmath>
#include <numbers>
#include <set>
#include <utility>

#include "harness.hpp"
#include "quern/error.hpp"
#include "quern/philox.hpp"

namespace quern::testing {
namespace {

/// Images [count, height, width, channels], one index for each of `order`, batches of `samples`.
struct Case {
  Shape images;
  Values pixels, labels, order;
  std::int64_t samples = 1;
  InputBatchAttrs attrs;
  StepScalars step;

  Call run() const {
    Call call({{OpKind::input_batch, Direction::forward},
               attrs,
               {{DType::u8, images},
                {DType::u8, {images[0]}},
                {DType::u32, {static_cast<std::int64_t>(order.size())}},
                {DType::u8, {64}}},
               {{DType::f32, {samples, images[1], images[2], images[3]}}, {DType::i32, {samples}}}});
    call.set("images", pixels).set("labels", labels).set("order", order).set_step(step).run();
    return call;
  }
};

TEST(ReferenceInputBatch, GathersAndNormalises) {
  Case test{{3, 1, 2, 1}, {0, 255, 51, 102, 153, 204}, {7, 8, 9}, {0, 2, 1, 0}, 2, {}, {}};
  test.step.order_offset = 1;
  Call call = test.run();
  expect_near(call.get("x"), {0.6, 0.8, 0.2, 0.4}, 1e-15, "x");
  EXPECT_EQ(call.get("y"), (Values{9, 8}));
  test.attrs.mean = 0.25f;
  test.attrs.stddev = 0.5f;
  expect_near(test.run().get("x"), {0.7, 1.1, -0.1, 0.3}, 1e-15, "x");
}

TEST(ReferenceInputBatch, KeepsChannelsInPlace) {
  const Case test{{1, 2, 1, 3}, {0, 51, 102, 153, 204, 255}, {1}, {0}, 1, {}, {}};
  expect_near(test.run().get("x"), {0, 0.2, 0.4, 0.6, 0.8, 1}, 1e-15, "x");
}

TEST(ReferenceInputBatch, RefusesIndicesOutOfRange) {
  Case test{{2, 1, 1, 1}, {1, 2}, {0, 1}, {0, 2}, 1, {}, {}};
  EXPECT_NO_THROW(test.run());
  test.step.order_offset = 1;
  EXPECT_THROW(test.run(), Error);  // image 2 of 2
  test.step.order_offset = 2;
  EXPECT_THROW(test.run(), Error);  // past the end of the order
}

/// Draw `number` of sample `sample`, in [-1, 1).
double draw(const StepScalars& step, std::uint64_t sample, unsigned number) {
  const std::uint32_t bits = philox_u32(step.seed, RandomPurpose::augment, 0, step.step, 8 * sample + number);
  return 2 * static_cast<double>(uniform_from_u32(bits)) - 1;
}

/// One square image of distinct pixels, augmented alone.
Case square(std::int64_t size) {
  Case test{{1, size, size, 1}, {}, {0}, {0}, 1, {}, {}};
  for (std::int64_t i = 0; i < size * size; ++i)
    test.pixels.push_back(static_cast<double>(5 + (i * 37) % 250));
  return test;
}

/// Compares with expected(h, w), a pixel value of 0 to 255.
template <class Expected>
void expect_pixels(const Case& test, const Expected& expected) {
  const Values x = test.run().get("x");
  const std::int64_t size = test.images[1];
  for (std::int64_t h = 0; h < size; ++h)
    for (std::int64_t w = 0; w < size; ++w)
      ASSERT_NEAR(x[static_cast<std::size_t>(h * size + w)] * 255, expected(h, w), 0.1)
          << "row " << h << " column " << w;
}

double pixel(const Case& test, std::int64_t h, std::int64_t w) {
  const std::int64_t size = test.images[1];
  if (h < 0 || h >= size || w < 0 || w >= size) return 0;
  return test.pixels[static_cast<std::size_t>(h * size + w)];
}

TEST(ReferenceInputBatch, AnAugmentationOfNothingIsTheIdentity) {
  Case test = square(6);
  test.attrs.augment.shift = 1e-20f;
  ASSERT_TRUE(test.attrs.augment.enabled());
  expect_pixels(test, [&](auto h, auto w) { return pixel(test, h, w); });
}

TEST(ReferenceInputBatch, AShiftByWholePixelsMovesTheImageAndLeavesZeros) {
  Case test = square(6);
  // A step whose second draw is next to nothing beside its first: a shift along one axis.
  for (const bool down : {true, false}) {
    const unsigned along = down ? 0 : 1, across = down ? 1 : 0;
    while (std::abs(draw(test.step, 0, across)) > 1e-4 * std::abs(draw(test.step, 0, along)))
      ++test.step.step;
    const double one = draw(test.step, 0, along);
    test.attrs.augment.shift = static_cast<float>(2 / std::abs(one));
    const std::int64_t by = one > 0 ? 2 : -2;
    expect_pixels(test,
                  [&](auto h, auto w) { return down ? pixel(test, h - by, w) : pixel(test, h, w - by); });
  }
}

TEST(ReferenceInputBatch, QuarterTurns) {
  bool seen[2] = {};
  for (const std::int64_t size : {6, 7}) {
    Case test = square(size);
    for (test.step.step = 0; test.step.step < 20; ++test.step.step) {
      const double turn = draw(test.step, 0, 2);
      if (std::abs(turn) < 0.51) continue;  // the limit may not exceed 180 degrees
      test.attrs.augment.rotate = static_cast<float>(90 / std::abs(turn));
      // With rows downwards a positive angle turns clockwise: the left column becomes the top row.
      expect_pixels(test, [&](auto h, auto w) {
        return turn > 0 ? pixel(test, size - 1 - w, h) : pixel(test, w, size - 1 - h);
      });
      seen[turn > 0 ? 0 : 1] = true;
    }
  }
  EXPECT_TRUE(seen[0] && seen[1]);
}

TEST(ReferenceInputBatch, HalfTheSizeAboutTheCentre) {
  Case test = square(7);
  while (draw(test.step, 0, 3) > -0.6) ++test.step.step;
  test.attrs.augment.scale = static_cast<float>(-0.5 / draw(test.step, 0, 3));
  expect_pixels(test, [&](auto h, auto w) { return pixel(test, 3 + 2 * (h - 3), 3 + 2 * (w - 3)); });
}

TEST(ReferenceInputBatch, AShearOfOneMovesRowsApart) {
  Case test = square(7);
  while (draw(test.step, 0, 4) < 0.6) ++test.step.step;
  test.attrs.augment.shear = static_cast<float>(45 / draw(test.step, 0, 4));
  expect_pixels(test, [&](auto h, auto w) { return pixel(test, h, w - (h - 3)); });
}

TEST(ReferenceInputBatch, FlipsAsOftenAsAsked) {
  Case test = square(6);
  test.attrs.augment.flip = 0.25f;
  int flipped = 0;
  for (test.step.step = 0; test.step.step < 200; ++test.step.step) {
    const std::uint32_t bits =
        philox_u32(test.step.seed, RandomPurpose::augment, 2, test.step.step, /*sample=*/0);
    const bool flip = uniform_from_u32(bits) < 0.25f;
    flipped += flip ? 1 : 0;
    expect_pixels(test, [&](auto h, auto w) { return pixel(test, h, flip ? 5 - w : w); });
  }
  EXPECT_GT(flipped, 30);  // 50 expected; 6 is one standard deviation
  EXPECT_LT(flipped, 70);
  test.attrs.augment.flip = 1;
  expect_pixels(test, [&](auto h, auto w) { return pixel(test, h, 5 - w); });
}

TEST(ReferenceInputBatch, AShiftMovesTheMirrorImage) {
  Case test = square(6);
  test.attrs.augment.flip = 1;
  while (std::abs(draw(test.step, 0, 0)) > 1e-4 * std::abs(draw(test.step, 0, 1))) ++test.step.step;
  const double one = draw(test.step, 0, 1);
  test.attrs.augment.shift = static_cast<float>(2 / std::abs(one));
  const std::int64_t by = one > 0 ? 2 : -2;
  expect_pixels(test, [&](auto h, auto w) { return pixel(test, h, 5 - (w - by)); });
}

TEST(ReferenceInputBatch, ACropMovesByEveryWholeNumberOfPixels) {
  Case test = square(6);
  test.attrs.augment.crop = 2;
  std::set<std::pair<std::int64_t, std::int64_t>> seen;
  for (test.step.step = 0; test.step.step < 400; ++test.step.step) {
    const auto by = [&](std::uint64_t axis) {
      const std::uint64_t bits = philox_u32(test.step.seed, RandomPurpose::augment, 3, test.step.step, axis);
      return static_cast<std::int64_t>(5 * (bits >> 8) >> 24) - 2;
    };
    const std::int64_t down = by(0), right = by(1);
    expect_pixels(test, [&](auto h, auto w) { return pixel(test, h - down, w - right); });
    seen.emplace(down, right);
  }
  EXPECT_EQ(seen.size(), 25u);
}

/// The bits of draw `number` of the stream that moves nodes.
double node_draw(const StepScalars& step, std::uint64_t sample, unsigned number) {
  const std::uint32_t bits =
      philox_u32(step.seed, RandomPurpose::augment, 1, step.step, 32 * sample + number);
  return 2 * static_cast<double>(uniform_from_u32(bits)) - 1;
}

/// On a plane the value tells how far a pixel was read from its place: at the nodes it is their displacement,
/// half way between two nodes the mean of theirs, in the middle of four the mean of the four.
TEST(ReferenceInputBatch, AnElasticDistortionMovesTheNodesAndWhatIsBetween) {
  constexpr std::int64_t kSize = 19, kSamples = 3;  // nodes at 0, 6, 12 and 18
  for (const bool along_h : {true, false}) {
    Case test{{1, kSize, kSize, 1}, {}, {0}, {0, 0, 0}, kSamples, {}, {}};
    for (std::int64_t h = 0; h < kSize; ++h)
      for (std::int64_t w = 0; w < kSize; ++w)
        test.pixels.push_back(static_cast<double>(20 + 10 * (along_h ? h : w)));
    test.attrs.augment.elastic = 2;
    test.step.seed = 5;
    test.step.step = 9;
    const Values x = test.run().get("x");
    for (std::int64_t n = 0; n < kSamples; ++n) {
      const auto node = [&](std::int64_t i, std::int64_t j) {
        return 2 * node_draw(test.step, static_cast<std::uint64_t>(n),
                             static_cast<unsigned>(2 * (4 * i + j) + (along_h ? 0 : 1)));
      };
      const auto moved = [&](std::int64_t h, std::int64_t w) {
        const double value = x[static_cast<std::size_t>((n * kSize + h) * kSize + w)] * 255;
        return (value - 20) / 10 - static_cast<double>(along_h ? h : w);
      };
      // Nodes 1 and 2 stay inside the image wherever they are moved.
      for (std::int64_t i = 1; i <= 2; ++i)
        for (std::int64_t j = 1; j <= 2; ++j)
          EXPECT_NEAR(moved(6 * i, 6 * j), node(i, j), 1e-6) << i << " " << j;
      EXPECT_NEAR(moved(9, 6), (node(1, 1) + node(2, 1)) / 2, 1e-6);
      EXPECT_NEAR(moved(6, 9), (node(1, 1) + node(1, 2)) / 2, 1e-6);
      EXPECT_NEAR(moved(9, 9), (node(1, 1) + node(1, 2) + node(2, 1) + node(2, 2)) / 4, 1e-6);
      EXPECT_NEAR(moved(8, 6), (2 * node(1, 1) + node(2, 1)) / 3, 1e-6);
    }
  }
}

TEST(ReferenceInputBatch, ErasesASquareOfEverySideAndCutsItOff) {
  constexpr std::int64_t kSize = 9, kErase = 4;
  Case test = square(kSize);
  test.attrs.augment.erase = kErase;
  bool sides[kErase + 1] = {}, cut = false;
  for (test.step.step = 0; test.step.step < 60; ++test.step.step) {
    const auto below = [&](unsigned number, std::uint64_t limit) {
      const std::uint64_t bits =
          philox_u32(test.step.seed, RandomPurpose::augment, 0, test.step.step, number) >> 8;
      return static_cast<std::int64_t>(limit * bits >> 24);
    };
    const std::int64_t side = below(5, kErase + 1);
    const std::int64_t top = below(6, kSize) - side / 2, left = below(7, kSize) - side / 2;
    sides[side] = true;
    cut = cut || top < 0 || left + side > kSize;
    const Values x = test.run().get("x");
    for (std::int64_t h = 0; h < kSize; ++h)
      for (std::int64_t w = 0; w < kSize; ++w) {
        const bool inside = h >= top && h < top + side && w >= left && w < left + side;
        EXPECT_NEAR(x[static_cast<std::size_t>(h * kSize + w)] * 255, inside ? 0 : pixel(test, h, w), 1e-9);
      }
  }
  for (const bool seen : sides) EXPECT_TRUE(seen);
  EXPECT_TRUE(cut);
}

/// Bilinear sampling reproduces a plane exactly, so that the interior shows where each pixel was read:
/// at centre + A^-1 (p - centre - shift), here from A itself by Cramer's rule.
TEST(ReferenceInputBatch, AllTogetherReadWhereTheDefinitionSays) {
  constexpr std::int64_t kSize = 21, kSamples = 4;
  Case test{{2, kSize, kSize, 1}, {}, {3, 4}, {1, 0, 1, 1}, kSamples, {}, {}};
  const auto plane = [](double h, double w, std::int64_t image) {
    return image == 0 ? 5 * h + 3 * w + 10 : 200 - 2 * h - 6 * w;
  };
  for (std::int64_t image = 0; image < 2; ++image)
    for (std::int64_t h = 0; h < kSize; ++h)
      for (std::int64_t w = 0; w < kSize; ++w)
        test.pixels.push_back(plane(static_cast<double>(h), static_cast<double>(w), image));
  test.attrs.augment = {.shift = 2, .rotate = 30, .scale = 0.25f, .shear = 15};
  test.step.seed = 77;
  test.step.step = 5;
  const Values x = test.run().get("x");

  int interior = 0;
  for (std::int64_t n = 0; n < kSamples; ++n) {
    const auto number = [&](unsigned j, double limit) {
      return draw(test.step, static_cast<std::uint64_t>(n), j) * limit;
    };
    constexpr double kRadians = std::numbers::pi / 180;
    const double shift_y = number(0, 2), shift_x = number(1, 2), t = number(2, 30) * kRadians;
    const double s = 1 + number(3, 0.25), tangent = std::tan(number(4, 15) * kRadians);
    const double a = s * std::cos(t), b = s * (std::cos(t) * tangent - std::sin(t));
    const double c = s * std::sin(t), d = s * (std::sin(t) * tangent + std::cos(t));
    for (std::int64_t h = 0; h < kSize; ++h) {
      for (std::int64_t w = 0; w < kSize; ++w) {
        const double u = static_cast<double>(w) - 10 - shift_x, v = static_cast<double>(h) - 10 - shift_y;
        const double source_x = 10 + (d * u - b * v) / (a * d - b * c);
        const double source_y = 10 + (a * v - c * u) / (a * d - b * c);
        const double actual = x[static_cast<std::size_t>((n * kSize + h) * kSize + w)] * 255;
        if (source_x >= 0 && source_x <= kSize - 1 && source_y >= 0 && source_y <= kSize - 1) {
          const auto image = static_cast<std::int64_t>(test.order[static_cast<std::size_t>(n)]);
          ASSERT_NEAR(actual, plane(source_y, source_x, image), 1e-4) << n << " " << h << " " << w;
          ++interior;
        } else if (source_x <= -1 || source_x >= kSize || source_y <= -1 || source_y >= kSize) {
          ASSERT_EQ(actual, 0) << n << " " << h << " " << w;
        }
      }
    }
  }
  EXPECT_GT(interior, 800);
}

TEST(ReferenceInputBatch, SamplesAndStepsAreAugmentedApart) {
  Case test = square(8);
  test.samples = 2;
  test.order = {0, 0};
  test.attrs.augment = {.shift = 2, .rotate = 10};
  const Values x = test.run().get("x");
  EXPECT_NE(Values(x.begin(), x.begin() + 64), Values(x.begin() + 64, x.end()));
  EXPECT_EQ(x, test.run().get("x"));
  test.step.step = 1;
  EXPECT_NE(x, test.run().get("x"));
}

}  // namespace
}  // namespace quern::testing
