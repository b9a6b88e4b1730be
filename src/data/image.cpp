#include "quern/image.hpp"

#include <png.h>

#include <string>

#include "data/image_formats.hpp"
#include "io/text.hpp"
#include "quern/error.hpp"

namespace quern {
namespace {

bool begins_with(std::span<const std::byte> content, std::string_view magic, std::size_t offset = 0) {
  if (content.size() < offset + magic.size()) return false;
  const char* text = reinterpret_cast<const char*>(content.data());
  return std::string_view(text + offset, magic.size()) == magic;
}

/// What a file that is neither PNG nor PGM seems to be.
const char* guess(std::span<const std::byte> content) {
  if (content.empty()) return "an empty file";
  if (begins_with(content, "\xFF\xD8\xFF")) return "a JPEG";
  if (begins_with(content, "GIF8")) return "a GIF";
  if (begins_with(content, "BM")) return "a BMP";
  if (begins_with(content, "RIFF") && begins_with(content, "WEBP", 8)) return "a WebP";
  if (begins_with(content, "II*") || begins_with(content, "MM")) return "a TIFF";
  if (begins_with(content, "P3") || begins_with(content, "P6")) return "a colour PPM";
  return "something else";
}

std::vector<std::byte> encode(int width, int height, std::span<const std::uint8_t> pixels, bool color) {
  const std::size_t bytes =
      static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * (color ? 3 : 1);
  QUERN_REQUIRE(width > 0 && height > 0 && pixels.size() == bytes, "{} x {} image with {} bytes of pixels",
                width, height, pixels.size());
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(width);
  png.height = static_cast<png_uint_32>(height);
  png.format = color ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
  std::vector<std::byte> content(size);
  const int written = png_image_write_to_memory(&png, content.data(), &size, 0, pixels.data(), 0, nullptr);
  QUERN_REQUIRE(written != 0, "cannot encode a PNG of {} x {}: {}", width, height, png.message);
  content.resize(size);
  return content;
}

void write(const std::filesystem::path& path, const std::vector<std::byte>& content, FileSystem& files) {
  const std::span<const std::byte> part(content);
  write_file_atomically(path, {&part, 1}, files);
}

}  // namespace

void check_image_size(std::int64_t width, std::int64_t height, const std::string& file,
                      const ImageLimits& limits) {
  if (width < 1 || height < 1)
    fail_input("{} is an image of {} x {} pixels; save it again", file, width, height);
  if (width > limits.max_side || height > limits.max_side || width > limits.max_pixels / height)
    fail_input("{} is an image of {} x {} pixels, the limit is {} pixels and {} on a side; scale it down",
               file, width, height, limits.max_pixels, limits.max_side);
}

GrayImage parse_image(std::span<const std::byte> content, std::string_view name, const ImageLimits& limits) {
  const std::string file = quote_path(name);
  if (begins_with(content, "\x89PNG\r\n\x1A\n")) return parse_png(content, file, limits);
  if (begins_with(content, "P2") || begins_with(content, "P5")) return parse_pgm(content, file, limits);
  fail_input("{} is neither a PNG nor a PGM image but {}; convert it to PNG", file, guess(content));
}

GrayImage load_image(const std::filesystem::path& path, const ImageLimits& limits) {
  return parse_image(read_file(path, limits.max_file_bytes), path.native(), limits);
}

std::vector<std::byte> encode_png(const GrayImage& image) {
  return encode(image.width, image.height, image.pixels, false);
}

std::vector<std::byte> encode_png(const RgbImage& image) {
  return encode(image.width, image.height, image.pixels, true);
}

void write_png(const std::filesystem::path& path, const GrayImage& image, FileSystem& files) {
  write(path, encode_png(image), files);
}

void write_png(const std::filesystem::path& path, const RgbImage& image, FileSystem& files) {
  write(path, encode_png(image), files);
}

}  // namespace quern
