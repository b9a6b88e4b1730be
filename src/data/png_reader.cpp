#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string>

#include "data/gzip.hpp"
#include "data/image_formats.hpp"
#include "quern/error.hpp"

namespace quern {
namespace {

/// libpng's reader. It reports errors by longjmp, which must not jump over a destructor, so each method that
/// calls it and may fail keeps plain values only, returns false instead, and leaves the reason in message().
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> content) : rest_(content) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    info_ = png_ != nullptr ? png_create_info_struct(png_) : nullptr;
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      fail_device("out of memory for reading a PNG");
    }
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  /// Everything up to the pixels. Reading stops there; nothing of the image's size is allocated.
  bool read_header() {
    if (setjmp(png_jmpbuf(png_))) return false;  // NOLINT(cert-err52-cpp): the library's way of reporting
    png_set_read_fn(png_, this, on_read);
    // The sizes are checked by the caller, with messages of their own; text and profiles are not even stored.
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(png_, 1 << 20);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, 0);
    png_set_keep_unknown_chunks(
        png_, PNG_HANDLE_CHUNK_NEVER,
        reinterpret_cast<png_const_bytep>("bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0"
                                          "pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0tEXt\0tIME\0zTXt"),
        17);
    png_read_info(png_, info_);
    return true;
  }

  /// Sets up grey, or grey and alpha, with 8 bits each.
  bool convert() {
    if (setjmp(png_jmpbuf(png_))) return false;  // NOLINT(cert-err52-cpp): the library's way of reporting
    constexpr int kSilent = 1;
    constexpr int kRec709 = -1;
    png_set_expand(png_);
    png_set_scale_16(png_);
    if ((png_get_color_type(png_, info_) & PNG_COLOR_MASK_COLOR) != 0)
      png_set_rgb_to_gray_fixed(png_, kSilent, kRec709, kRec709);
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  bool read_pixels(png_bytep pixels, std::size_t row_bytes) {
    if (setjmp(png_jmpbuf(png_))) return false;  // NOLINT(cert-err52-cpp): the library's way of reporting
    const png_uint_32 rows = png_get_image_height(png_, info_);
    for (int pass = 0; pass < passes_; ++pass)
      for (png_uint_32 row = 0; row < rows; ++row) png_read_row(png_, pixels + row * row_bytes, nullptr);
    png_read_end(png_, nullptr);
    return true;
  }

  std::int64_t width() const { return png_get_image_width(png_, info_); }
  std::int64_t height() const { return png_get_image_height(png_, info_); }
  int bits_per_pixel() const { return png_get_bit_depth(png_, info_) * png_get_channels(png_, info_); }
  int channels() const { return png_get_channels(png_, info_); }
  std::size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  const char* message() const { return message_; }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto* self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(self->message_, message, sizeof self->message_ - 1);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep into, std::size_t count) {
    auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > self->rest_.size()) png_error(png, "the file ends too early");
    std::memcpy(into, self->rest_.data(), count);
    self->rest_ = self->rest_.subspan(count);
  }

  std::span<const std::byte> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  char message_[128] = {};
};

/// What shows through transparent pixels, so that the opaque ones stand out: the opposite of a drawing in one
/// tone, the more frequent tone of a picture that has both (a card with a digit on it, cut out).
int backdrop(std::span<const std::uint8_t> gray_alpha) {
  std::uint64_t opaque = 0, dark = 0, bright = 0, sum = 0;  // weighted by opacity
  for (std::size_t i = 0; i < gray_alpha.size(); i += 2) {
    const std::uint64_t gray = gray_alpha[i], alpha = gray_alpha[i + 1];
    opaque += alpha;
    sum += alpha * gray;
    dark += gray < 96 ? alpha : 0;
    bright += gray >= 160 ? alpha : 0;
  }
  const bool mostly_bright = sum >= opaque * 128;
  const bool two_tones = std::min(dark, bright) * 32 >= opaque;
  return two_tones == mostly_bright ? 255 : 0;
}

std::vector<std::uint8_t> without_alpha(std::span<const std::uint8_t> gray_alpha) {
  const int background = backdrop(gray_alpha);
  std::vector<std::uint8_t> pixels(gray_alpha.size() / 2);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const int alpha = gray_alpha[2 * i + 1];
    pixels[i] =
        static_cast<std::uint8_t>((gray_alpha[2 * i] * alpha + background * (255 - alpha) + 127) / 255);
  }
  return pixels;
}

}  // namespace

GrayImage parse_png(std::span<const std::byte> content, const std::string& file, const ImageLimits& limits) {
  PngReader reader(content);
  const auto fail = [&] {
    fail_input("{} cannot be read as a PNG: {}; save it again", file, reader.message());
  };
  if (!reader.read_header()) fail();
  const std::int64_t width = reader.width(), height = reader.height();
  check_image_size(width, height, file, limits);
  // Pixels are deflated, so a short file holds few of them, whatever its header claims.
  const std::uint64_t raw_bytes =
      static_cast<std::uint64_t>(width * height) * static_cast<std::uint64_t>(reader.bits_per_pixel()) / 8;
  if (raw_bytes > content.size() * kMaxDeflateRatio)
    fail_input("{} claims {} x {} pixels, more than its {} bytes can hold; save it again", file, width,
               height, content.size());
  if (!reader.convert()) fail();
  const std::size_t channels = static_cast<std::size_t>(reader.channels());
  const std::size_t row_bytes = reader.row_bytes();
  QUERN_REQUIRE(channels <= 2 && row_bytes == channels * static_cast<std::size_t>(width),
                "PNG rows of {} bytes for {} pixels", row_bytes, width);
  std::vector<std::uint8_t> pixels(row_bytes * static_cast<std::size_t>(height));
  if (!reader.read_pixels(pixels.data(), row_bytes)) fail();
  if (channels == 2) pixels = without_alpha(pixels);
  return {static_cast<int>(width), static_cast<int>(height), std::move(pixels)};
}

}  // namespace quern
