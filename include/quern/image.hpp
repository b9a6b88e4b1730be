#pragma once

/// Pictures from outside: PNG and PGM files, and a handwritten digit's way from any picture to what a model
/// trained on MNIST expects.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "quern/file.hpp"

namespace quern {

/// Grey levels, 0 black to 255 white, row by row from the top.
struct GrayImage {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;

  std::uint8_t at(int x, int y) const {
    return pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                  static_cast<std::size_t>(x)];
  }
  bool operator==(const GrayImage&) const = default;
};

/// Three bytes a pixel, red first.
struct RgbImage {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;
  bool operator==(const RgbImage&) const = default;
};

struct ImageLimits {
  std::int64_t max_pixels = std::int64_t{64} << 20;
  int max_side = 65535;
  std::uint64_t max_file_bytes = std::uint64_t{256} << 20;
};

/// Reads a PNG (any colour type, depth and interlacing) or a PGM (plain P2 or raw P5) as 8-bit grey; which of
/// the two is told by the content. 16-bit samples are scaled, colours become luminance (Rec. 709 weights on
/// the stored values). Where there is transparency, the background that shows through is white or black,
/// whichever sets off the opaque pixels: a drawing in one tone gets its opposite, a picture in two tones gets
/// the more frequent one. Throws an input error for a file that is neither, is damaged or cut short, or
/// exceeds the limits; nothing is allocated for a size that so short a file could not hold.
GrayImage load_image(const std::filesystem::path& path, const ImageLimits& limits = {});
/// The same from memory; `name` stands for the file in messages.
GrayImage parse_image(std::span<const std::byte> content, std::string_view name,
                      const ImageLimits& limits = {});

std::vector<std::byte> encode_png(const GrayImage& image);
std::vector<std::byte> encode_png(const RgbImage& image);
/// Writes atomically (file.hpp); throws a device error if it cannot.
void write_png(const std::filesystem::path& path, const GrayImage& image, FileSystem& files = system_files());
void write_png(const std::filesystem::path& path, const RgbImage& image, FileSystem& files = system_files());

struct PrepareOptions {
  int size = 28;  ///< side of the result
  int box = 20;   ///< longer side of the digit in it
};

/// A digit as MNIST has them: bright on black, its longer side `box` pixels, its centre of mass in the middle
/// of a square of `size`. (Source of the normalisation: LeCun, Bottou, Bengio, Haffner 1998, and the data
/// set's page.)
///
/// An image that has the size already and a dark background is returned as it is. Any other one is reduced to
/// 1024 pixels or less; its background is the median of its border, and ink is what differs from it towards
/// the side where more stands out, so dark on light, light on dark, and paper photographed in poor light all
/// work; ink no stronger than the border's own unevenness is dropped, and so are specks (connected parts with
/// less than 1/50 of the largest part's ink). The rest is cropped, scaled by area averaging (linear
/// interpolation where it is enlarged), stretched to full contrast and placed. Throws an input error if the
/// image is empty or nothing stands out from its background.
GrayImage prepare_digit(const GrayImage& image, const PrepareOptions& options = {});

}  // namespace quern
