#include "quern/image.hpp"

#include <algorithm>
#include <cstdlib>

#include "tests/data/png_samples.hpp"
#include "tests/io/faulty_files.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

using test::expect_error;
using test::make_png;
using test::PngColor;
using test::put;
using test::TemporaryFolder;

/// Levels of all kinds, an odd size, nothing symmetrical.
GrayImage ramp(int width = 37, int height = 21) {
  GrayImage image{width, height, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) image.pixels.push_back(static_cast<std::uint8_t>((x * 7 + y * 31) % 256));
  return image;
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void expect_bad(const std::vector<std::string>& words, std::span<const std::byte> content,
                const ImageLimits& limits = {}) {
  auto all = words;
  all.push_back("'x.png'");
  expect_error(ErrorKind::input, all, [&] { parse_image(content, "x.png", limits); });
}

TEST(LoadImage, ReadsEveryKindOfPng) {
  for (const test::PngKind& kind : test::all_png_kinds()) {
    SCOPED_TRACE(to_string(kind));
    const GrayImage image = ramp();
    GrayImage expected = image;
    for (std::uint8_t& pixel : expected.pixels)
      pixel = static_cast<std::uint8_t>(test::rounded_to_depth(pixel, kind.depth));
    EXPECT_EQ(parse_image(make_png(image, kind), "x.png"), expected);
  }
}

TEST(LoadImage, ReadsTinyImagesOfEveryKind) {
  for (const test::PngKind& kind : test::all_png_kinds())
    for (const auto& [width, height] : {std::pair(1, 1), {1, 9}, {9, 1}, {2, 3}}) {
      const GrayImage white{width, height,
                            std::vector<std::uint8_t>(static_cast<std::size_t>(width * height), 255)};
      EXPECT_EQ(parse_image(make_png(white, kind), "x.png"), white) << to_string(kind);
    }
}

TEST(LoadImage, ColoursBecomeLuminance) {
  const RgbImage colors{5, 1, {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 90, 90, 90}};
  const GrayImage gray = parse_image(encode_png(colors), "x.png");
  EXPECT_NEAR(gray.at(0, 0), 0.2126 * 255, 1);
  EXPECT_NEAR(gray.at(1, 0), 0.7152 * 255, 1);
  EXPECT_NEAR(gray.at(2, 0), 0.0722 * 255, 1);
  EXPECT_EQ(gray.at(3, 0), 255);
  EXPECT_EQ(gray.at(4, 0), 90);
}

/// A picture with transparency: level and opacity of ink inside the middle third, and of what surrounds it.
GrayImage through_alpha(const test::PngKind& kind, int ink, int ink_alpha, int around, int around_alpha) {
  GrayImage image{30, 30, {}};
  const auto inside = [](int x, int y) { return x >= 10 && x < 20 && y >= 10 && y < 20; };
  for (int y = 0; y < 30; ++y)
    for (int x = 0; x < 30; ++x)
      image.pixels.push_back(static_cast<std::uint8_t>(inside(x, y) ? ink : around));
  return parse_image(
      make_png(image, kind, [=](int x, int y) { return inside(x, y) ? ink_alpha : around_alpha; }), "x.png");
}

TEST(LoadImage, TransparencyNeverHidesTheInk) {
  for (const test::PngKind kind : {test::PngKind{PngColor::gray_alpha, 8, false},
                                   {PngColor::rgba, 16, true},
                                   {PngColor::rgba, 8, false},
                                   {PngColor::palette, 8, false}}) {
    SCOPED_TRACE(to_string(kind));
    for (const int hidden : {0, 255}) {  // the colour under full transparency means nothing
      GrayImage image = through_alpha(kind, 0, 255, hidden, 0);
      EXPECT_EQ(image.at(15, 15), 0);
      EXPECT_EQ(image.at(0, 0), 255);
      image = through_alpha(kind, 254, 255, hidden, 0);
      EXPECT_GE(image.at(15, 15), 250);
      EXPECT_EQ(image.at(0, 0), 0);
    }
  }
  const test::PngKind kind{PngColor::gray_alpha, 8, false};
  GrayImage image = through_alpha(kind, 0, 64, 0, 0);  // faint black ink
  EXPECT_EQ(image.at(0, 0), 255);
  EXPECT_NEAR(image.at(15, 15), 191, 1);
  image = through_alpha(kind, 255, 64, 0, 0);  // faint white ink
  EXPECT_EQ(image.at(0, 0), 0);
  EXPECT_NEAR(image.at(15, 15), 64, 1);
}

TEST(LoadImage, ATransparentFrameTakesTheColourOfTheCardInside) {
  for (const int card : {0, 255}) {
    GrayImage picture{40, 40, {}};
    for (int y = 0; y < 40; ++y)
      for (int x = 0; x < 40; ++x) {
        const bool digit = x >= 18 && x < 22 && y >= 12 && y < 28;
        picture.pixels.push_back(static_cast<std::uint8_t>(digit ? 255 - card : card));
      }
    const auto frame = [](int x, int y) { return x < 8 || y < 8 || x >= 32 || y >= 32 ? 0 : 255; };
    EXPECT_EQ(parse_image(make_png(picture, {PngColor::rgba, 8, false}, frame), "x.png"), picture);
  }
}

TEST(LoadImage, RefusesAPngThatIsNone) {
  expect_bad({"neither a PNG nor a PGM", "an empty file"}, {});
  expect_bad({"neither a PNG nor a PGM", "something else", "convert it"}, bytes_of("hello"));
  expect_bad({"a JPEG"}, bytes_of("\xFF\xD8\xFF\xE0 ..."));
  expect_bad({"a GIF"}, bytes_of("GIF89a"));
  expect_bad({"a BMP"}, bytes_of("BM...."));
  expect_bad({"a WebP"}, bytes_of("RIFF....WEBP"));
  expect_bad({"a colour PPM"}, bytes_of("P6 1 1 255 ..."));
  expect_bad({"something else"}, bytes_of("\x89PNG\r\n\x1A"));
  expect_bad({"cannot be read as a PNG", "ends too early", "save it again"}, bytes_of("\x89PNG\r\n\x1A\n"));
  expect_bad({"cannot be read as a PNG"}, bytes_of("\x89PNG\r\n\x1A\n and then something else altogether"));
}

TEST(LoadImage, RefusesAPngCutShortAnywhere) {
  for (const test::PngKind& kind :
       {test::PngKind{}, {PngColor::rgba, 16, true}, {PngColor::palette, 4, false}}) {
    const auto content = make_png(ramp(), kind);
    for (std::size_t size = 8; size < content.size(); ++size)
      expect_bad({"cannot be read as a PNG"}, std::span(content).first(size));
  }
}

TEST(LoadImage, RefusesDamagedChunks) {
  const auto content = make_png(ramp(), {});
  for (std::size_t i = 8; i < content.size(); ++i) {
    auto damaged = content;
    damaged[i] ^= std::byte{0x55};
    expect_bad({}, damaged);  // every chunk of this file is critical, and every one has a checksum
  }
}

/// The start of a PNG that claims this size, its checksums right.
std::vector<std::byte> claiming(std::uint32_t width, std::uint32_t height) {
  auto content = make_png(ramp(4, 4), {});
  for (std::size_t i = 0; i < 4; ++i) {
    content[16 + i] = static_cast<std::byte>(width >> (24 - 8 * i));
    content[20 + i] = static_cast<std::byte>(height >> (24 - 8 * i));
  }
  test::repair_checksums(content);
  return content;
}

TEST(LoadImage, RefusesSizesBeyondTheLimitsOrTheFile) {
  expect_bad({"10000 x 10000", "limit is 67108864 pixels", "scale it down"}, claiming(10000, 10000));
  expect_bad({"100000 x 1 pixels", "65535 on a side"}, claiming(100000, 1));
  expect_bad({"2147483647 x 2147483647", "limit"}, claiming(0x7FFFFFFF, 0x7FFFFFFF));
  expect_bad({"cannot be read as a PNG"}, claiming(0, 5));
  expect_bad({"cannot be read as a PNG"}, claiming(0x80000000u, 5));
  expect_bad({"claims 8000 x 8000 pixels", "bytes can hold"}, claiming(8000, 8000));
  expect_bad({"cannot be read as a PNG"}, claiming(4, 5));
  ImageLimits limits;
  limits.max_pixels = 15;
  expect_bad({"4 x 4 pixels", "limit is 15"}, make_png(ramp(4, 4), {}), limits);
  limits.max_pixels = 16;
  EXPECT_NO_THROW(parse_image(make_png(ramp(4, 4), {}), "x.png", limits));
}

TEST(LoadImage, ReadsPgm) {
  const GrayImage expected{3, 2, {0, 128, 255, 10, 20, 30}};
  EXPECT_EQ(parse_image(bytes_of("P2\n# made by hand\n3 2\n255\n0 128 255\n10 20 30\n"), "x"), expected);
  EXPECT_EQ(parse_image(bytes_of("P2 3#3 wide\r\n2 255 0 128 255 10 20 30"), "x"), expected);
  EXPECT_EQ(parse_image(bytes_of(std::string("P5 3 2 255\n\0\x80\xFF\x0A\x14\x1E", 17)), "x"), expected);
  // 16 bits, big-endian, scaled; a small maximum likewise.
  EXPECT_EQ(parse_image(bytes_of(std::string("P5 2 1 65535\n\xFF\xFF\x80\x80", 17)), "x"),
            (GrayImage{2, 1, {255, 128}}));
  EXPECT_EQ(parse_image(bytes_of("P2 3 1 4 0 2 4"), "x"), (GrayImage{3, 1, {0, 128, 255}}));
  EXPECT_EQ(parse_image(bytes_of("P2 1 1 9 9"), "x"), (GrayImage{1, 1, {255}}));
}

TEST(LoadImage, RefusesBadPgm) {
  expect_bad({"width", "missing"}, bytes_of("P5"));
  expect_bad({"width", "not a number"}, bytes_of("P5 -3 2 255\n123456"));
  expect_bad({"height", "missing"}, bytes_of("P5 3 "));
  expect_bad({"maximum", "missing"}, bytes_of("P5 3 2 #255"));
  expect_bad({"width", "too large"}, bytes_of("P5 99999999999999999999 2 255\n123456"));
  expect_bad({"0 x 2 pixels"}, bytes_of("P5 0 2 255\n123456"));
  expect_bad({"100000 x 2 pixels", "limit"}, bytes_of("P5 100000 2 255\n123456"));
  expect_bad({"60000 x 1000", "need 60000000 bytes", "truncated"}, bytes_of("P5 60000 1000 255\n123456"));
  expect_bad({"60000 x 1000", "need 120000000 bytes", "truncated"}, bytes_of("P2 60000 1000 255\n123456"));
  expect_bad({"maximum", "0", "expected 1 to 65535"}, bytes_of("P5 3 2 0\n123456"));
  expect_bad({"65536", "expected 1 to 65535"}, bytes_of("P5 3 2 65536\n123456123456"));
  expect_bad({"header", "cut short"}, bytes_of("P5 3 2 255"));
  expect_bad({"truncated", "need 6 bytes or more, 5 are there"}, bytes_of("P5 3 2 255\n12345"));
  expect_bad({"oversized", "1 bytes follow"}, bytes_of("P5 3 2 255\n1234567"));
  expect_bad({"sample of 50", "maximum of 49"}, bytes_of("P5 3 2 49\n123456"));
  expect_bad({"sample of 7", "maximum of 6"}, bytes_of("P2 3 1 6 5 6 7"));
  expect_bad({"sample", "missing"}, bytes_of("P2 3 1 255 100 200 "));
  expect_bad({"oversized", "text follows"}, bytes_of("P2 3 1 255 1 2 3 4"));
  expect_bad({"sample", "not a number"}, bytes_of("P2 3 1 255 1 x 3 4"));
}

TEST(WritePng, RoundTrips) {
  TemporaryFolder folder;
  write_png(folder / "gray.png", ramp());
  EXPECT_EQ(load_image(folder / "gray.png"), ramp());
  const GrayImage gray = ramp(5, 7);
  RgbImage rgb{5, 7, {}};
  for (const std::uint8_t level : gray.pixels) rgb.pixels.insert(rgb.pixels.end(), 3, level);
  write_png(folder / "rgb.png", rgb);
  EXPECT_EQ(load_image(folder / "rgb.png"), gray);
  EXPECT_EQ(test::get(folder / "rgb.png").substr(0, 8), "\x89PNG\r\n\x1A\n");
}

TEST(WritePng, ReportsAFullDiskAndBadImages) {
  TemporaryFolder folder;
  test::FaultyFiles files;
  files.capacity = 20;
  expect_error(ErrorKind::device, {"a.png", "free space"},
               [&] { write_png(folder / "a.png", ramp(), files); });
  EXPECT_THAT(folder.names(), testing::IsEmpty());
  expect_error(ErrorKind::internal, {"3 x 3 image with 8 bytes"}, [] {
    encode_png(GrayImage{3, 3, std::vector<std::uint8_t>(8)});
  });
  expect_error(ErrorKind::internal, {"0 x 3"}, [] { encode_png(GrayImage{0, 3, {}}); });
}

TEST(LoadImage, ReadsFromAFileAndReportsItsPath) {
  TemporaryFolder folder;
  put(folder / "no.png", "hello");
  expect_error(ErrorKind::input, {(folder / "no.png").string(), "neither a PNG"},
               [&] { load_image(folder / "no.png"); });
  expect_error(ErrorKind::input, {"absent.png", "check the path"},
               [&] { load_image(folder / "absent.png"); });
  ImageLimits limits;
  limits.max_file_bytes = 4;
  expect_error(ErrorKind::input, {"no.png", "limit is 4"}, [&] { load_image(folder / "no.png", limits); });
}

}  // namespace
}  // namespace quern
