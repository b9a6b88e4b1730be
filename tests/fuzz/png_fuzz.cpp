/// Pictures: as they stand, and with every PNG chunk's checksum repaired, so that mutations reach what is
/// behind them. What can be read is prepared as a digit.

#include <algorithm>

#include "quern/image.hpp"
#include "tests/data/png_samples.hpp"
#include "tests/fuzz/fuzz_target.hpp"

using namespace quern;

namespace {

constexpr ImageLimits kLimits{1 << 20, 4096,
                              1 << 20};  // smaller than usual: a fuzzer's time is better spent elsewhere

void read_and_prepare(std::span<const std::byte> content) {
  fuzz::expect_success_or_input_error([&] {
    const GrayImage image = parse_image(content, "fuzz.png", kLimits);
    if (image.width < 1 || image.height < 1 ||
        std::int64_t{image.width} * image.height > kLimits.max_pixels ||
        image.pixels.size() != static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height))
      fuzz::fail("an image of another size than it says");
    const GrayImage digit = prepare_digit(image);
    if (digit.width != 28 || digit.height != 28 || digit.pixels.size() != 784)
      fuzz::fail("a digit that is not 28 x 28");
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto content = fuzz::as_bytes(data, size);
  read_and_prepare(content);
  fuzz::Bytes repaired(content.begin(), content.end());
  test::repair_checksums(repaired);
  if (!std::equal(repaired.begin(), repaired.end(), content.begin(), content.end()))
    read_and_prepare(repaired);
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  GrayImage image{13, 11, {}};
  for (int i = 0; i < 13 * 11; ++i) image.pixels.push_back(static_cast<std::uint8_t>(i % 13 > 8 ? 255 : i));
  std::vector<Bytes> result;
  for (const test::PngKind& kind : test::all_png_kinds()) {
    result.push_back(test::make_png(image, kind));
    if (kind.color == test::PngColor::palette && kind.depth == 8)
      result.push_back(test::make_png(image, kind, [](int x, int) { return x < 4 ? 0 : 255; }));
  }
  result.push_back(text("P2 3 2 255 0 128 255 10 20 30"));
  result.push_back(text("P5\n# comment\n3 2\n255\nabcdef"));
  result.push_back(text("P5 3 1 65535 abcdef"));
  return result;
}

// Grey and alpha for 1-bit pixels that deflate expanded, and the working copies of prepare_digit.
std::size_t fuzz::allocation_limit(std::size_t input_bytes) {
  return std::min<std::size_t>(1032 * 8 * 2 * input_bytes, 64 << 20) + (1 << 20);
}
