#pragma once

/// The readers behind load_image, one for each format. `file` is quoted for messages.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "quern/image.hpp"

namespace quern {

GrayImage parse_png(std::span<const std::byte> content, const std::string& file, const ImageLimits& limits);
GrayImage parse_pgm(std::span<const std::byte> content, const std::string& file, const ImageLimits& limits);

/// Throws an input error for an extent that is not positive or exceeds the limits.
void check_image_size(std::int64_t width, std::int64_t height, const std::string& file,
                      const ImageLimits& limits);

}  // namespace quern
