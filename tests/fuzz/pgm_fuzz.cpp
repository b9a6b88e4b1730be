/// PGM pictures, plain and raw: bytes as they stand, and behind each of the two magics.

#include <algorithm>

#include "quern/image.hpp"
#include "tests/fuzz/fuzz_target.hpp"

using namespace quern;

namespace {

constexpr ImageLimits kLimits{1 << 20, 4096, 1 << 20};

void read(std::span<const std::byte> content) {
  fuzz::expect_success_or_input_error([&] {
    const GrayImage image = parse_image(content, "fuzz.pgm", kLimits);
    if (image.width < 1 || image.height < 1 ||
        image.pixels.size() != static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height))
      fuzz::fail("an image of another size than it says");
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto content = fuzz::as_bytes(data, size);
  read(content);
  for (const char kind : {'2', '5'}) {
    fuzz::Bytes changed(content.begin(), content.end());
    if (changed.size() < 2 || changed[0] != std::byte{'P'})
      changed.insert(changed.begin(), 2, std::byte{' '});
    changed[0] = std::byte{'P'};
    changed[1] = static_cast<std::byte>(kind);
    read(changed);
  }
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  return {text("P2 3 2 255 0 128 255 10 20 30"),
          text("P2\n# made by hand\n2 2\n7\n0 1\n6 7\n"),
          text("P2 2 2 65535 0 1 65535 256"),
          text("P5\n# comment\n3 2\n255\nabcdef"),
          text("P5 3 1 65535 abcdef"),
          text("P5 2 2 1 \x01\x01\x01\x01"),
          text("P5 4096 4096 255 a"),
          text("P2 99999999999999999999 1 255 0"),
          text("P5 -1 1 255 a")};
}

std::size_t fuzz::allocation_limit(std::size_t input_bytes) {
  return 4 * input_bytes + (64 << 10);
}
