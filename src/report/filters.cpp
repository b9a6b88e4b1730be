#include "report/filters.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace quern {
namespace {

using Color = std::array<std::uint8_t, 3>;

/// From blue over white to orange; `value` in -1 .. 1.
Color diverging(double value) {
  constexpr double kNegative[] = {0, 90, 160}, kPositive[] = {200, 80, 0};
  const double* end = value < 0 ? kNegative : kPositive;
  const double share = std::min(1.0, std::abs(value));
  Color color;
  for (std::size_t i = 0; i < 3; ++i)
    color[i] = static_cast<std::uint8_t>(std::lround(250 + (end[i] - 250) * share));
  return color;
}

std::uint8_t level(double value) {
  return static_cast<std::uint8_t>(std::lround(127.5 + 127.5 * std::clamp(value, -1.0, 1.0)));
}

}  // namespace

std::optional<FilterPictures> first_layer_filters(const ModelSpec& spec, std::span<const float> weights,
                                                  std::size_t most) {
  const auto first = std::find_if(spec.layers.begin(), spec.layers.end(), [](const LayerSpec& layer) {
    return layer.kind == OpKind::conv2d || layer.kind == OpKind::dense;
  });
  if (first == spec.layers.end()) return std::nullopt;
  const WeightLayout layout = weight_layout(spec);
  const WeightTensor& tensor = layout.find(first->name + ".weight");
  FilterPictures filters;
  filters.layer = first->name;
  std::int64_t depth = 0;
  if (first->kind == OpKind::conv2d) {
    filters.height = tensor.shape[1];
    filters.width = tensor.shape[2];
    depth = tensor.shape[3];
  } else if (tensor.shape[1] == spec.height * spec.width * spec.channels) {
    filters.height = spec.height;
    filters.width = spec.width;
    depth = spec.channels;
  }
  if (depth != 1 && depth != 3) return std::nullopt;
  filters.signed_colors = depth == 1;
  const auto values = weights.subspan(static_cast<std::size_t>(tensor.offset),
                                      static_cast<std::size_t>(tensor.shape.elements()));
  for (const float value : values)
    filters.largest = std::max(filters.largest, std::abs(static_cast<double>(value)));
  const double scale = filters.largest > 0 ? 1 / filters.largest : 0;
  const std::size_t size = static_cast<std::size_t>(tensor.shape.elements() / tensor.shape[0]);
  const std::size_t count = std::min(most, static_cast<std::size_t>(tensor.shape[0]));
  for (std::size_t k = 0; k < count; ++k) {
    RgbImage picture{static_cast<int>(filters.width), static_cast<int>(filters.height), {}};
    for (const float value : values.subspan(k * size, size)) {
      const double scaled = static_cast<double>(value) * scale;
      if (depth == 1) {
        const Color color = diverging(scaled);
        picture.pixels.insert(picture.pixels.end(), color.begin(), color.end());
      } else {
        picture.pixels.push_back(level(scaled));
      }
    }
    filters.pictures.push_back(std::move(picture));
  }
  return filters;
}

RgbImage tile(const FilterPictures& filters, int columns, int zoom) {
  const int count = static_cast<int>(filters.pictures.size());
  columns = std::min(columns, count);
  const int rows = (count + columns - 1) / columns;
  const int width = static_cast<int>(filters.width), height = static_cast<int>(filters.height);
  RgbImage all{columns * (width * zoom + 1) + 1, rows * (height * zoom + 1) + 1, {}};
  all.pixels.assign(static_cast<std::size_t>(all.width) * static_cast<std::size_t>(all.height) * 3, 128);
  for (int i = 0; i < count; ++i) {
    const int left = i % columns * (width * zoom + 1) + 1, top = i / columns * (height * zoom + 1) + 1;
    const auto& pixels = filters.pictures[static_cast<std::size_t>(i)].pixels;
    for (int y = 0; y < height * zoom; ++y)
      for (int x = 0; x < width * zoom; ++x)
        std::copy_n(pixels.begin() + (y / zoom * width + x / zoom) * 3, 3,
                    all.pixels.begin() + static_cast<std::ptrdiff_t>((top + y) * all.width + left + x) * 3);
  }
  return all;
}

}  // namespace quern
