#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>
#include <vector>

#include "quern/error.hpp"
#include "quern/image.hpp"

namespace quern {
namespace {

constexpr int kWorkingSide = 1024;

/// Intensities as real numbers: 0 background, 255 full ink, once the polarity is known.
struct Plane {
  int width = 0, height = 0;
  std::vector<float> values;

  Plane(int w, int h)
      : width(w), height(h), values(static_cast<std::size_t>(w) * static_cast<std::size_t>(h)) {}
  float& at(int x, int y) { return values[index(x, y)]; }
  float at(int x, int y) const { return values[index(x, y)]; }
  std::size_t index(int x, int y) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
  }
};

struct Box {
  int left = 0, top = 0, width = 0, height = 0;
};

/// One axis of a resampling: output i is the sum over k of weights[i][k] * input[first[i] + k].
struct AxisFilter {
  std::vector<int> first;
  std::vector<std::vector<float>> weights;
};

/// Shrinking averages the interval that an output covers; enlarging interpolates between pixel centres.
AxisFilter axis_filter(int in, int out) {
  AxisFilter filter;
  const double ratio = static_cast<double>(in) / out;
  for (int i = 0; i < out; ++i) {
    std::vector<float> weights;
    int first = 0;
    if (ratio >= 1) {
      const double begin = i * ratio, end = (i + 1) * ratio;
      first = static_cast<int>(begin);
      for (int k = first; k < in && k < end; ++k)
        weights.push_back(
            static_cast<float>((std::min(end, k + 1.0) - std::max(begin, static_cast<double>(k))) / ratio));
    } else {
      const double centre = std::clamp((i + 0.5) * ratio - 0.5, 0.0, in - 1.0);
      first = std::min(static_cast<int>(centre), std::max(in - 2, 0));
      const auto fraction = static_cast<float>(centre - first);
      weights.push_back(1 - fraction);
      if (first + 1 < in) weights.push_back(fraction);
    }
    filter.first.push_back(first);
    filter.weights.push_back(std::move(weights));
  }
  return filter;
}

Plane resample(const Plane& in, Box box, int width, int height) {
  const AxisFilter across = axis_filter(box.width, width), down = axis_filter(box.height, height);
  Plane narrow(width, box.height);
  for (int y = 0; y < box.height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto& weights = across.weights[static_cast<std::size_t>(x)];
      const int first = box.left + across.first[static_cast<std::size_t>(x)];
      float sum = 0;
      for (std::size_t k = 0; k < weights.size(); ++k)
        sum += weights[k] * in.at(first + static_cast<int>(k), box.top + y);
      narrow.at(x, y) = sum;
    }
  }
  Plane out(width, height);
  for (int y = 0; y < height; ++y) {
    const auto& weights = down.weights[static_cast<std::size_t>(y)];
    const int first = down.first[static_cast<std::size_t>(y)];
    for (int x = 0; x < width; ++x) {
      float sum = 0;
      for (std::size_t k = 0; k < weights.size(); ++k)
        sum += weights[k] * narrow.at(x, first + static_cast<int>(k));
      out.at(x, y) = sum;
    }
  }
  return out;
}

/// The image as real numbers, no side longer than kWorkingSide: noise shrinks with it, and so does the work.
Plane working_copy(const GrayImage& image) {
  const int longer = std::max(image.width, image.height);
  const auto scaled = [&](int side) {
    return longer <= kWorkingSide ? side
                                  : std::max(1, static_cast<int>(std::int64_t{side} * kWorkingSide / longer));
  };
  // Rows are averaged as they are read, so that no copy of the full image in floats is made.
  const int width = scaled(image.width), height = scaled(image.height);
  Plane plane(width, height);
  if (longer <= kWorkingSide) {
    std::copy(image.pixels.begin(), image.pixels.end(), plane.values.begin());
    return plane;
  }
  const AxisFilter across = axis_filter(image.width, width), down = axis_filter(image.height, height);
  Plane row(image.width, 1);
  for (int y = 0; y < height; ++y) {
    std::fill(row.values.begin(), row.values.end(), 0.0f);
    const auto& rows = down.weights[static_cast<std::size_t>(y)];
    for (std::size_t k = 0; k < rows.size(); ++k)
      for (int x = 0; x < image.width; ++x)
        row.at(x, 0) += rows[k] * static_cast<float>(image.at(
                                      x, down.first[static_cast<std::size_t>(y)] + static_cast<int>(k)));
    for (int x = 0; x < width; ++x) {
      const auto& weights = across.weights[static_cast<std::size_t>(x)];
      for (std::size_t k = 0; k < weights.size(); ++k)
        plane.at(x, y) +=
            weights[k] * row.at(across.first[static_cast<std::size_t>(x)] + static_cast<int>(k), 0);
    }
  }
  return plane;
}

/// Grey levels along the edge, in a band a fortieth of the shorter side wide, in ascending order.
template <class Image>
std::vector<float> border_levels(const Image& image) {
  const int band = std::max(1, std::min(image.width, image.height) / 40);
  std::vector<float> levels;
  for (int y = 0; y < image.height; ++y) {
    const bool whole_row = y < band || y >= image.height - band;
    for (int x = 0; x < image.width; ++x)
      if (whole_row || x < band || x >= image.width - band)
        levels.push_back(static_cast<float>(image.at(x, y)));
  }
  std::sort(levels.begin(), levels.end());
  return levels;
}

float quantile(const std::vector<float>& sorted, double fraction) {
  return sorted[static_cast<std::size_t>(fraction * static_cast<double>(sorted.size() - 1))];
}

constexpr float kLeastContrast = 16;  // of 255; less is taken for an empty page

/// True if more stands out on the dark side of the background than on the bright one. Squares weigh strong
/// differences over wide faint ones, such as shadows; sums weigh strokes over single outliers.
template <class Levels>
bool ink_is_dark(const Levels& levels, float background) {
  double dark = 0, bright = 0;
  for (const auto level : levels) {
    const float difference = static_cast<float>(level) - background;
    const double excess = static_cast<double>(std::max(std::abs(difference) - kLeastContrast, 0.0f));
    (difference < 0 ? dark : bright) += excess * excess;
  }
  return dark > bright;
}

/// Turns grey levels into ink: 0 for the background and its unevenness, 255 for what differs most from it.
void extract_ink(Plane& plane) {
  std::vector<float> border = border_levels(plane);
  const float background = quantile(border, 0.5);
  const bool dark_ink = ink_is_dark(plane.values, background);
  const auto [darkest, brightest] = std::minmax_element(plane.values.begin(), plane.values.end());
  const float range = dark_ink ? background - *darkest : *brightest - background;
  if (range < kLeastContrast)
    fail_input(
        "no digit found in the image: nothing in its {} x {} pixels stands out from the background; use a "
        "picture "
        "with more contrast",
        plane.width, plane.height);

  // Unevenness of the background: how far three quarters of the border lie from its median. Some of the
  // border may be ink, where the picture is cropped closely.
  for (float& level : border) level = std::abs(level - background);
  std::sort(border.begin(), border.end());
  const float floor = std::min(2 * quantile(border, 0.75), range / 3);
  for (float& value : plane.values) {
    const float ink = dark_ink ? background - value : value - background;
    value = std::max(ink - floor, 0.0f) * 255 / (range - floor);
  }
}

/// Clears connected parts (8 neighbours) with less than 1/50 of the ink of the largest: dust, not strokes.
void remove_specks(Plane& plane) {
  constexpr double kLeastShare = 0.02;
  std::vector<int> part(plane.values.size(), -1);
  std::vector<double> ink;
  std::vector<std::pair<int, int>> stack;
  for (int y = 0; y < plane.height; ++y) {
    for (int x = 0; x < plane.width; ++x) {
      if (plane.at(x, y) <= 0 || part[plane.index(x, y)] >= 0) continue;
      const int id = static_cast<int>(ink.size());
      ink.push_back(0);
      part[plane.index(x, y)] = id;
      stack.emplace_back(x, y);
      while (!stack.empty()) {
        const auto [cx, cy] = stack.back();
        stack.pop_back();
        ink.back() += static_cast<double>(plane.at(cx, cy));
        for (int ny = std::max(cy - 1, 0); ny <= std::min(cy + 1, plane.height - 1); ++ny)
          for (int nx = std::max(cx - 1, 0); nx <= std::min(cx + 1, plane.width - 1); ++nx)
            if (plane.at(nx, ny) > 0 && part[plane.index(nx, ny)] < 0) {
              part[plane.index(nx, ny)] = id;
              stack.emplace_back(nx, ny);
            }
      }
    }
  }
  const double least = *std::max_element(ink.begin(), ink.end()) * kLeastShare;
  for (std::size_t i = 0; i < part.size(); ++i)
    if (part[i] >= 0 && ink[static_cast<std::size_t>(part[i])] < least) plane.values[i] = 0;
}

/// The smallest box with all ink of a quarter or more: soft edges reach further than the stroke itself.
Box bounding_box(const Plane& plane) {
  constexpr float kLeastInk = 64;
  int left = plane.width, top = plane.height, right = -1, bottom = -1;
  for (int y = 0; y < plane.height; ++y)
    for (int x = 0; x < plane.width; ++x)
      if (plane.at(x, y) >= kLeastInk) {
        left = std::min(left, x);
        right = std::max(right, x);
        top = std::min(top, y);
        bottom = std::max(bottom, y);
      }
  return {left, top, right - left + 1, bottom - top + 1};
}

void stretch(Plane& plane) {
  const float most = *std::max_element(plane.values.begin(), plane.values.end());
  for (float& value : plane.values) value *= 255 / most;
}

/// Where a digit begins along an axis so that its centre of mass falls on pixel size/2, as in MNIST, and all
/// of it stays inside.
int offset(double centre, int extent, int size) {
  const int middle = size / 2;
  return std::clamp(static_cast<int>(std::ceil(middle - centre - 0.5)), 0, size - extent);
}

GrayImage place(const Plane& digit, int size) {
  double mass = 0, mass_x = 0, mass_y = 0;
  for (int y = 0; y < digit.height; ++y)
    for (int x = 0; x < digit.width; ++x) {
      const auto value = static_cast<double>(digit.at(x, y));
      mass += value;
      mass_x += value * x;
      mass_y += value * y;
    }
  const int left = offset(mass_x / mass, digit.width, size), top = offset(mass_y / mass, digit.height, size);
  GrayImage result{
      size, size, std::vector<std::uint8_t>(static_cast<std::size_t>(size) * static_cast<std::size_t>(size))};
  for (int y = 0; y < digit.height; ++y)
    for (int x = 0; x < digit.width; ++x)
      result.pixels[static_cast<std::size_t>(top + y) * static_cast<std::size_t>(size) +
                    static_cast<std::size_t>(left + x)] =
          static_cast<std::uint8_t>(std::lround(std::clamp(digit.at(x, y), 0.0f, 255.0f)));
  return result;
}

/// Black, or dark with something bright on it.
bool has_dark_background(const GrayImage& image) {
  const float background = quantile(border_levels(image), 0.5);
  return background < 64 || (background < 128 && !ink_is_dark(image.pixels, background));
}

}  // namespace

GrayImage prepare_digit(const GrayImage& image, const PrepareOptions& options) {
  QUERN_REQUIRE(options.size > 0 && options.box > 0 && options.box <= options.size,
                "a box of {} in a square of {}", options.box, options.size);
  if (image.width < 1 || image.height < 1) fail_input("the image is empty; use one with a digit in it");
  QUERN_REQUIRE(
      image.pixels.size() == static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height),
      "{} x {} image with {} pixels", image.width, image.height, image.pixels.size());
  if (image.width == options.size && image.height == options.size && has_dark_background(image)) return image;

  Plane plane = working_copy(image);
  extract_ink(plane);
  remove_specks(plane);
  stretch(plane);  // the strongest ink may have been a speck
  const Box box = bounding_box(plane);
  const int longer = std::max(box.width, box.height);
  const auto scaled = [&](int side) {
    return std::max(1, static_cast<int>(std::lround(static_cast<double>(side) * options.box / longer)));
  };
  Plane digit = resample(plane, box, scaled(box.width), scaled(box.height));
  stretch(digit);
  return place(digit, options.size);
}

}  // namespace quern
