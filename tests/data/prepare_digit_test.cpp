#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "data/idx.hpp"
#include "quern/image.hpp"
#include "quern/philox.hpp"
#include "tests/data/png_samples.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

using test::make_png;
using test::PngColor;

/// MNIST's test images.
const std::vector<GrayImage>& digits() {
  static const std::vector<GrayImage> images = [] {
    const IdxArray array = load_idx(std::string(QUERN_SOURCE_DIR) + "/data/mnist/t10k-images-idx3-ubyte.gz");
    std::vector<GrayImage> result;
    for (auto at = array.values.begin(); at != array.values.end(); at += 784)
      result.push_back({28, 28, std::vector<std::uint8_t>(at, at + 784)});
    return result;
  }();
  return images;
}

GrayImage blank(int width, int height, int level) {
  return {width, height,
          std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height),
                                    static_cast<std::uint8_t>(level))};
}

GrayImage map_pixels(GrayImage image, const std::function<double(int, int, int)>& f) {
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      const double value = f(image.at(x, y), x, y);
      image.pixels[static_cast<std::size_t>(y * image.width + x)] =
          static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0, 255.0)));
    }
  return image;
}

GrayImage inverted(const GrayImage& image) {
  return map_pixels(image, [](int v, int, int) { return 255 - v; });
}

/// Each pixel `factor` times as large, interpolated where `smooth`; on a canvas at (left, top).
GrayImage drawn(const GrayImage& image, double factor, bool smooth, int width, int height, int left,
                int top) {
  return map_pixels(blank(width, height, 0), [&](int, int x, int y) {
    double u = (x - left + 0.5) / factor, v = (y - top + 0.5) / factor;
    if (u < 0 || v < 0 || u >= image.width || v >= image.height) return 0.0;
    if (!smooth) return double{image.at(static_cast<int>(u), static_cast<int>(v)) * 1.0};
    u = std::clamp(u - 0.5, 0.0, image.width - 1.001), v = std::clamp(v - 0.5, 0.0, image.height - 1.001);
    const int i = static_cast<int>(u), j = static_cast<int>(v);
    const double a = u - i, b = v - j;
    return (image.at(i, j) * (1 - a) + image.at(i + 1, j) * a) * (1 - b) +
           (image.at(i, j + 1) * (1 - a) + image.at(i + 1, j + 1) * a) * b;
  });
}

double correlation(const GrayImage& a, const GrayImage& b) {
  const auto mean = [](const GrayImage& image) {
    return std::accumulate(image.pixels.begin(), image.pixels.end(), 0.0) /
           static_cast<double>(image.pixels.size());
  };
  const double mean_a = mean(a), mean_b = mean(b);
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    const double da = a.pixels[i] - mean_a, db = b.pixels[i] - mean_b;
    ab += da * db;
    aa += da * da;
    bb += db * db;
  }
  return ab / std::sqrt(aa * bb);
}

GrayImage shifted(const GrayImage& image, int dx, int dy) {
  return map_pixels(image, [&](int, int x, int y) {
    const int u = x - dx, v = y - dy;
    return u >= 0 && v >= 0 && u < image.width && v < image.height ? double{1.0 * image.at(u, v)} : 0.0;
  });
}

using Distortion = std::function<GrayImage(const GrayImage&)>;

/// The prepared image, moved by the one pixel that a rounded centre of mass may differ by where that fits
/// better.
GrayImage prepared_like(const GrayImage& digit, const Distortion& distort) {
  const GrayImage prepared = prepare_digit(distort(digit));
  GrayImage best = prepared;
  for (int dy = -1; dy <= 1; ++dy)
    for (int dx = -1; dx <= 1; ++dx)
      if (GrayImage moved = shifted(prepared, dx, dy); correlation(moved, digit) > correlation(best, digit))
        best = std::move(moved);
  return best;
}

/// Prepares what `distort` makes of the first `count` digits and compares with the digits themselves.
void expect_recovered(double least, double least_mean, int count, const Distortion& distort) {
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    const GrayImage& digit = digits()[static_cast<std::size_t>(i)];
    const GrayImage prepared = prepared_like(digit, distort);
    ASSERT_EQ(prepared.width, 28);
    ASSERT_EQ(prepared.height, 28);
    const double agreement = correlation(prepared, digit);
    EXPECT_GE(agreement, least) << "digit " << i;
    sum += agreement;
  }
  EXPECT_GE(sum / count, least_mean);
}

/// How many of the first `count` digits, distorted and prepared, are closest to themselves among 1500.
int recognised(int count, const Distortion& distort) {
  int hits = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const GrayImage prepared = prepared_like(digits()[i], distort);
    const double own = correlation(prepared, digits()[i]);
    std::size_t other = 0;
    while (other < 1500 && (other == i || correlation(prepared, digits()[other]) < own)) ++other;
    hits += other == 1500;
  }
  return hits;
}

TEST(PrepareDigit, PassesMnistImagesThroughUnchanged) {
  for (const GrayImage& digit : digits()) ASSERT_EQ(prepare_digit(digit), digit);
  EXPECT_EQ(prepare_digit(blank(28, 28, 0)), blank(28, 28, 0));
}

TEST(PrepareDigit, InvertsTheSameSize) {
  expect_recovered(0.98, 0.999, 100, inverted);
}

TEST(PrepareDigit, ReducesFiveTimesTheSize) {
  expect_recovered(0.98, 0.999, 40, [](const GrayImage& d) { return drawn(d, 5, false, 140, 140, 0, 0); });
  expect_recovered(0.98, 0.999, 40,
                   [](const GrayImage& d) { return inverted(drawn(d, 5, false, 140, 140, 0, 0)); });
}

TEST(PrepareDigit, FindsADigitAnywhereOnALargerPage) {
  expect_recovered(0.85, 0.95, 40, [](const GrayImage& d) { return drawn(d, 3.7, true, 400, 300, 250, 40); });
  expect_recovered(0.85, 0.95, 40,
                   [](const GrayImage& d) { return inverted(drawn(d, 3.7, true, 300, 400, 3, 290)); });
  expect_recovered(0.80, 0.95, 10,
                   [](const GrayImage& d) { return inverted(drawn(d, 12, true, 2000, 1500, 900, 700)); });
  expect_recovered(0.98, 0.999, 40, [](const GrayImage& d) { return drawn(d, 1, false, 64, 40, 30, 5); });
}

TEST(PrepareDigit, ReadsPenOnPaperWithoutGreyLevels) {
  const auto bilevel = [](const GrayImage& d) {
    return map_pixels(drawn(d, 8, true, 300, 300, 30, 50), [](int v, int, int) { return v > 127 ? 0 : 255; });
  };
  expect_recovered(0.80, 0.95, 40, bilevel);
  EXPECT_GE(recognised(40, bilevel), 38);
}

TEST(PrepareDigit, ReadsEveryKindOfPng) {
  for (const test::PngKind kind : {test::PngKind{PngColor::gray, 16, false},
                                   {PngColor::gray, 4, true},
                                   {PngColor::palette, 8, false},
                                   {PngColor::rgb, 16, true},
                                   {PngColor::rgba, 8, false}}) {
    SCOPED_TRACE(to_string(kind));
    expect_recovered(0.95, 0.99, 40, [&](const GrayImage& d) {
      return parse_image(make_png(inverted(drawn(d, 5, false, 200, 160, 31, 9)), kind), "x.png");
    });
  }
}

TEST(PrepareDigit, ReadsInkOnTransparency) {
  for (const int ink : {0, 255})
    expect_recovered(0.98, 0.999, 40, [&](const GrayImage& d) {
      const GrayImage large = drawn(d, 5, false, 140, 140, 0, 0);
      const auto alpha = [&](int x, int y) { return large.at(x, y); };
      return parse_image(make_png(blank(140, 140, ink), {PngColor::rgba, 8, false}, alpha), "x.png");
    });
}

TEST(PrepareDigit, BringsUpLowContrast) {
  expect_recovered(0.98, 0.995, 40, [](const GrayImage& d) {
    return map_pixels(drawn(d, 5, false, 140, 140, 0, 0), [](int v, int, int) { return 110 - v * 0.25; });
  });
  expect_recovered(0.98, 0.995, 40, [](const GrayImage& d) {
    return map_pixels(drawn(d, 5, false, 140, 140, 0, 0), [](int v, int, int) { return 140 + v * 0.25; });
  });
}

TEST(PrepareDigit, ReadsAPhotographOfPaper) {
  // Uneven light and a noisy sensor.
  const auto photograph = [](const GrayImage& d) {
    return map_pixels(drawn(d, 8, true, 320, 260, 60, 20), [](int v, int x, int y) {
      const auto noise =
          philox_u32(1, RandomPurpose::test, 0, 0, static_cast<std::uint64_t>(y * 320 + x)) % 17;
      return 165 + x * 0.06 - y * 0.04 + noise - 8.0 - v * 0.45;
    });
  };
  expect_recovered(0.80, 0.95, 40, photograph);
  EXPECT_GE(recognised(40, photograph), 38);
}

TEST(PrepareDigit, IgnoresDust) {
  expect_recovered(0.98, 0.999, 40, [](const GrayImage& d) {
    GrayImage page = drawn(d, 5, false, 300, 200, 20, 30);
    for (const auto& [x, y] : {std::pair(280, 10), {200, 190}, {5, 100}})
      for (int dx = 0; dx < 4; ++dx) page.pixels[static_cast<std::size_t>(y * 300 + x + dx)] = 200;
    return inverted(page);
  });
}

TEST(PrepareDigit, ABrightSpotDoesNotTurnAPictureAround) {
  expect_recovered(0.95, 0.99, 40, [](const GrayImage& d) {
    GrayImage page =
        map_pixels(drawn(d, 5, false, 140, 140, 0, 0), [](int v, int, int) { return 120 - v * 0.4; });
    for (int x = 3; x < 6; ++x) page.pixels[static_cast<std::size_t>(5 * 140 + x)] = 255;
    return page;
  });
}

TEST(PrepareDigit, NormalisesLikeMnist) {
  // A bar in a corner: 20 high, its centre of mass in the middle.
  GrayImage page = blank(100, 100, 255);
  for (int y = 2; y < 62; ++y)
    for (int x = 85; x < 97; ++x) page.pixels[static_cast<std::size_t>(y * 100 + x)] = 0;
  const GrayImage bar = prepare_digit(page);
  for (int y = 0; y < 28; ++y)
    for (int x = 0; x < 28; ++x)
      EXPECT_EQ(bar.at(x, y), x >= 12 && x < 16 && y >= 4 && y < 24 ? 255 : 0) << x << ',' << y;
  PrepareOptions options;
  options.size = 32;
  options.box = 30;
  EXPECT_EQ(prepare_digit(page, options).width, 32);
  EXPECT_EQ(prepare_digit(page, options).at(16, 1), 255);
}

TEST(PrepareDigit, HandlesExtremeShapes) {
  for (const auto& [width, height] : {std::pair(1, 400), {400, 1}, {2, 2}, {3000, 2}, {1, 2}, {5000, 3}}) {
    GrayImage image = blank(width, height, 255);
    image.pixels.back() = 0;
    EXPECT_EQ(prepare_digit(image).pixels.size(), 784u) << width << "x" << height;
  }
  // A line at one edge with a heavy end: the middle of its mass cannot reach the middle of the square.
  GrayImage image = blank(300, 300, 0);
  for (int x = 10; x < 290; ++x) image.pixels[static_cast<std::size_t>(150 * 300 + x)] = 60;
  for (int y = 140; y < 160; ++y)
    for (int x = 10; x < 14; ++x) image.pixels[static_cast<std::size_t>(y * 300 + x)] = 255;
  EXPECT_EQ(prepare_digit(image).pixels.size(), 784u);
}

TEST(PrepareDigit, RefusesAnEmptyPage) {
  for (const int level : {0, 128, 255})
    test::expect_error(ErrorKind::input, {"no digit found", "contrast"},
                       [&] { prepare_digit(blank(50, 60, level)); });
  test::expect_error(ErrorKind::input, {"no digit found"}, [&] { prepare_digit(blank(1, 1, 7)); });
  test::expect_error(ErrorKind::input, {"no digit found"}, [&] { prepare_digit(blank(28, 28, 255)); });
  test::expect_error(ErrorKind::input, {"empty"}, [&] { prepare_digit({}); });
}

}  // namespace
}  // namespace quern
