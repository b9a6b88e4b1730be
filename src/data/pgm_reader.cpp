#include <optional>

#include "data/image_formats.hpp"
#include "quern/error.hpp"

namespace quern {
namespace {

/// The text of a PGM header: numbers between white space and comments, which run from # to the end of the
/// line.
class Scanner {
 public:
  Scanner(std::span<const std::byte> content, const std::string& file) : content_(content), file_(file) {}

  std::size_t position() const { return position_; }
  void skip_byte() { ++position_; }

  std::int64_t number(const char* what) {
    skip_space();
    constexpr std::int64_t kLargest = 1'000'000'000;
    std::int64_t value = 0;
    const std::size_t begin = position_;
    while (const std::optional<char> c = peek()) {
      if (*c < '0' || *c > '9') break;
      value = value * 10 + (*c - '0');
      if (value > kLargest) fail_input("{}: the {} of this PGM is too large; save it again", file_, what);
      ++position_;
    }
    if (position_ == begin)
      fail_input("{}: the {} of this PGM is {}; save it again", file_, what,
                 peek() ? "not a number" : "missing, the file ends too early");
    return value;
  }

  void skip_space() {
    while (const std::optional<char> c = peek()) {
      if (*c == '#') {
        while (peek() && *peek() != '\n' && *peek() != '\r') ++position_;
      } else if (is_space(*c)) {
        ++position_;
      } else {
        break;
      }
    }
  }

  std::optional<char> peek() const {
    if (position_ >= content_.size()) return std::nullopt;
    return static_cast<char>(content_[position_]);
  }
  static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

 private:
  std::span<const std::byte> content_;
  const std::string& file_;
  std::size_t position_ = 2;  // after the magic
};

std::uint8_t to_gray(std::int64_t value, std::int64_t largest, const std::string& file) {
  if (value > largest)
    fail_input("{}: a sample of {} exceeds the PGM's own maximum of {}; save it again", file, value, largest);
  return static_cast<std::uint8_t>((value * 255 + largest / 2) / largest);
}

}  // namespace

GrayImage parse_pgm(std::span<const std::byte> content, const std::string& file, const ImageLimits& limits) {
  const bool plain = content[1] == std::byte{'2'};
  Scanner scanner(content, file);
  const std::int64_t width = scanner.number("width");
  const std::int64_t height = scanner.number("height");
  const std::int64_t largest = scanner.number("maximum");
  check_image_size(width, height, file, limits);
  if (largest < 1 || largest > 65535)
    fail_input("{}: the maximum of this PGM is {}, expected 1 to 65535; save it again", file, largest);

  const std::size_t samples = static_cast<std::size_t>(width * height);
  const std::size_t sample_bytes = plain || largest > 255 ? 2 : 1;  // plain: a digit and a space at least
  const std::optional<char> separator = scanner.peek();
  if (!separator || !Scanner::is_space(*separator))
    fail_input("{}: the header of this PGM is cut short; save it again", file);
  scanner.skip_byte();
  const std::size_t available = content.size() - scanner.position();
  if (available + (plain ? 1 : 0) < samples * sample_bytes)  // nothing need follow the last plain sample
    fail_input("{} is truncated: {} x {} pixels need {} bytes or more, {} are there; save it again", file,
               width, height, samples * sample_bytes, available);
  if (!plain && available > samples * sample_bytes)
    fail_input("{} is oversized: {} bytes follow the {} x {} pixels; save it again", file,
               available - samples * sample_bytes, width, height);

  GrayImage image{static_cast<int>(width), static_cast<int>(height), std::vector<std::uint8_t>(samples)};
  if (plain) {
    for (std::uint8_t& pixel : image.pixels) pixel = to_gray(scanner.number("sample"), largest, file);
    scanner.skip_space();
    if (scanner.peek())
      fail_input("{} is oversized: text follows the {} x {} pixels; save it again", file, width, height);
    return image;
  }
  const std::span<const std::byte> raw = content.subspan(scanner.position());
  for (std::size_t i = 0; i < samples; ++i) {
    std::int64_t value = std::to_integer<std::int64_t>(raw[i * sample_bytes]);
    if (sample_bytes == 2) value = value << 8 | std::to_integer<std::int64_t>(raw[2 * i + 1]);
    image.pixels[i] = to_gray(value, largest, file);
  }
  return image;
}

}  // namespace quern
