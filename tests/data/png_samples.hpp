#pragma once

/// PNG files of every kind the format has, for tests of the reader: Quern's own writer makes only two.

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "quern/image.hpp"

namespace quern::test {

enum class PngColor { gray, palette, rgb, gray_alpha, rgba };

struct PngKind {
  PngColor color = PngColor::gray;
  int depth = 8;  ///< gray 1..16, palette 1..8, the others 8 or 16
  bool interlaced = false;
};

/// All combinations that the format allows.
std::vector<PngKind> all_png_kinds();
std::string to_string(const PngKind& kind);

/// Opacity of a pixel, 0 to 255.
using Alpha = std::function<int(int x, int y)>;

/// The image as a PNG of this kind, its grey levels rounded to what the depth allows. `alpha` needs a kind
/// with an alpha channel, or a palette, where pixels of less than 128 become a transparent entry.
std::vector<std::byte> make_png(const GrayImage& image, const PngKind& kind, const Alpha& alpha = nullptr);

/// The grey level that a reader must find for `value` in a PNG of this depth.
int rounded_to_depth(int value, int depth);

/// Sets every chunk's checksum to what it should be, as far as the chunks can be followed.
void repair_checksums(std::span<std::byte> png);

}  // namespace quern::test
