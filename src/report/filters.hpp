#pragma once

/// The filters of a network's first layer as pictures.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quern/graph.hpp"
#include "quern/image.hpp"

namespace quern {

struct FilterPictures {
  std::string layer;
  std::int64_t height = 0, width = 0;
  double largest = 0;  ///< absolute value, which has full colour
  bool signed_colors =
      true;  ///< one channel: blue is negative, orange positive; else red, green and blue themselves
  std::vector<RgbImage> pictures;
};

/// Of the first layer with weights, if it sees pictures of one or three channels; at most `most`.
std::optional<FilterPictures> first_layer_filters(const ModelSpec& spec, std::span<const float> weights,
                                                  std::size_t most = 128);

/// All of them in one picture, a pixel apart and enlarged.
RgbImage tile(const FilterPictures& filters, int columns, int zoom);

}  // namespace quern
