#include "tests/data/png_samples.hpp"

#include <fmt/format.h>
#include <png.h>
#include <zlib.h>

#include <cstdint>

namespace quern::test {
namespace {

int color_type(PngColor color) {
  switch (color) {
    case PngColor::gray:
      return PNG_COLOR_TYPE_GRAY;
    case PngColor::palette:
      return PNG_COLOR_TYPE_PALETTE;
    case PngColor::rgb:
      return PNG_COLOR_TYPE_RGB;
    case PngColor::gray_alpha:
      return PNG_COLOR_TYPE_GRAY_ALPHA;
    case PngColor::rgba:
      break;
  }
  return PNG_COLOR_TYPE_RGB_ALPHA;
}

int quantised(int value, int depth) {
  const int most = (1 << depth) - 1;
  return (value * most + 127) / 255;
}

/// Appends samples of `depth` bits, most significant bit first.
class BitWriter {
 public:
  void put(int value, int depth) {
    for (int bit = depth - 1; bit >= 0; --bit) {
      if (used_ % 8 == 0) bytes_.push_back(0);
      bytes_.back() = static_cast<png_byte>(bytes_.back() | ((value >> bit & 1) << (7 - used_ % 8)));
      ++used_;
    }
  }
  std::vector<png_byte> take() { return std::move(bytes_); }

 private:
  std::vector<png_byte> bytes_;
  int used_ = 0;
};

std::vector<png_byte> make_row(const GrayImage& image, int y, const PngKind& kind, const Alpha& alpha) {
  BitWriter row;
  for (int x = 0; x < image.width; ++x) {
    const int value = quantised(image.at(x, y), kind.depth);
    const int opacity = alpha ? alpha(x, y) : 255;
    switch (kind.color) {
      case PngColor::gray:
        row.put(value, kind.depth);
        break;
      // The first entry is the transparent one, where there is one.
      case PngColor::palette:
        row.put(alpha ? (opacity < 128 ? 0 : value / 2 + 1) : value, kind.depth);
        break;
      case PngColor::rgba:
      case PngColor::rgb:
        row.put(value, kind.depth);
        row.put(value, kind.depth);
        [[fallthrough]];
      case PngColor::gray_alpha:
        row.put(value, kind.depth);
        break;
    }
    if (kind.color == PngColor::gray_alpha || kind.color == PngColor::rgba)
      row.put(quantised(opacity, kind.depth), kind.depth);
  }
  return row.take();
}

void set_palette(png_structp png, png_infop info, const PngKind& kind, bool transparent) {
  std::vector<png_color> entries;
  const int count = 1 << kind.depth;
  for (int i = 0; i < count; ++i) {
    const int value = transparent ? (i == 0 ? 0 : (i - 1) * 2) : i;
    const auto level = static_cast<png_byte>(value * 255 / (count - 1));
    entries.push_back({level, level, level});
  }
  png_set_PLTE(png, info, entries.data(), count);
  const png_byte invisible = 0;
  if (transparent) png_set_tRNS(png, info, &invisible, 1, nullptr);
}

void append(png_structp png, png_bytep data, std::size_t size) {
  auto* content = static_cast<std::vector<std::byte>*>(png_get_io_ptr(png));
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  content->insert(content->end(), bytes, bytes + size);
}

}  // namespace

std::vector<PngKind> all_png_kinds() {
  std::vector<PngKind> kinds;
  for (const bool interlaced : {false, true}) {
    for (const int depth : {1, 2, 4, 8, 16}) kinds.push_back({PngColor::gray, depth, interlaced});
    for (const int depth : {1, 2, 4, 8}) kinds.push_back({PngColor::palette, depth, interlaced});
    for (const int depth : {8, 16})
      for (const PngColor color : {PngColor::rgb, PngColor::gray_alpha, PngColor::rgba})
        kinds.push_back({color, depth, interlaced});
  }
  return kinds;
}

std::string to_string(const PngKind& kind) {
  constexpr const char* kNames[] = {"gray", "palette", "rgb", "gray_alpha", "rgba"};
  return fmt::format("{}{}{}", kNames[static_cast<int>(kind.color)], kind.depth,
                     kind.interlaced ? "_interlaced" : "");
}

std::vector<std::byte> make_png(const GrayImage& image, const PngKind& kind, const Alpha& alpha) {
  std::vector<std::byte> content;
  // Without a handler of ours, libpng aborts on errors, which is what a test wants.
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &content, append, nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height),
               kind.depth, color_type(kind.color), kind.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (kind.color == PngColor::palette) set_palette(png, info, kind, alpha != nullptr);
  png_write_info(png, info);
  std::vector<std::vector<png_byte>> rows;
  std::vector<png_bytep> pointers;
  for (int y = 0; y < image.height; ++y) rows.push_back(make_row(image, y, kind, alpha));
  for (auto& row : rows) pointers.push_back(row.data());
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return content;
}

int rounded_to_depth(int value, int depth) {
  return depth >= 8 ? value : quantised(value, depth) * 255 / ((1 << depth) - 1);
}

void repair_checksums(std::span<std::byte> png) {
  const auto number = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<std::uint32_t>(png[at + i]);
    return value;
  };
  for (std::size_t at = 8; at + 12 <= png.size();) {
    const std::size_t length = number(at);
    if (length > png.size() - at - 12) return;
    const auto* chunk = reinterpret_cast<const Bytef*>(png.data() + at + 4);
    const auto sum = static_cast<std::uint32_t>(crc32(0, chunk, static_cast<uInt>(length + 4)));
    for (std::size_t i = 0; i < 4; ++i)
      png[at + 8 + length + i] = static_cast<std::byte>(sum >> (24 - 8 * i));
    at += length + 12;
  }
}

}  // namespace quern::test
