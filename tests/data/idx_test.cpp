#include "data/idx.hpp"

#include "tests/data/idx_samples.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

using test::counting;
using test::expect_error;
using test::gzip;
using test::make_idx;
using testing::ElementsAre;

void expect_bad(const std::vector<std::string>& words, std::span<const std::byte> content) {
  auto all = words;
  all.push_back("'f.idx'");
  expect_error(ErrorKind::input, all, [&] { parse_idx(content, "f.idx"); });
}

/// The same fault, plain and compressed.
void expect_bad_both(const std::vector<std::string>& words, std::span<const std::byte> content) {
  expect_bad(words, content);
  expect_bad(words, gzip(content));
}

std::vector<std::byte> without_last(std::vector<std::byte> content, std::size_t count) {
  content.erase(content.end() - static_cast<std::ptrdiff_t>(count), content.end());
  return content;
}

std::vector<std::byte> joined(std::vector<std::byte> a, std::span<const std::byte> b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Idx, ReadsEveryRankPlainAndCompressed) {
  for (const auto& [content, extents] :
       std::vector<std::pair<std::vector<std::byte>, std::vector<std::int64_t>>>{
           {make_idx({24}, counting(24)), {24}},
           {make_idx({2, 12}, counting(24)), {2, 12}},
           {make_idx({2, 3, 4}, counting(24)), {2, 3, 4}},
           {make_idx({2, 2, 2, 3}, counting(24)), {2, 2, 2, 3}}}) {
    for (const auto& file : {content, gzip(content), gzip(content, 0)}) {
      const IdxArray array = parse_idx(file, "f.idx");
      EXPECT_EQ(array.extents, extents);
      EXPECT_EQ(array.values, counting(24));
    }
  }
}

TEST(Idx, ReadsGzipInSeveralMembers) {
  const auto content = make_idx({300}, counting(300));
  const auto file = joined(gzip(std::span(content).first(100)), gzip(std::span(content).subspan(100)));
  EXPECT_EQ(parse_idx(file, "f.idx").values, counting(300));
}

TEST(Idx, RefusesAFileThatIsNone) {
  expect_bad({"too short", "first 4 bytes"}, {});
  expect_bad_both({"too short"}, without_last(make_idx({}, {}), 1));
  const std::string text = "Hello, I am no data set.";
  expect_bad_both({"not an IDX file", "48 65 6c 6c", "expected 00 00 08"}, std::as_bytes(std::span(text)));
  auto swapped = make_idx({2}, counting(2));
  swapped[1] = std::byte{1};
  expect_bad_both({"not an IDX file", "00 01 08 01"}, swapped);
}

TEST(Idx, RefusesOtherElementTypesAndRanks) {
  expect_bad_both({"32-bit floats", "0d", "expected unsigned bytes"}, make_idx({1}, counting(4), 0x0D));
  expect_bad_both({"signed bytes"}, make_idx({1}, counting(1), 0x09));
  expect_bad_both({"unknown type", "07"}, make_idx({1}, counting(1), 0x07));
  expect_bad_both({"0 dimensions", "expected 1 to 4"}, make_idx({}, counting(1)));
  expect_bad_both({"5 dimensions", "expected 1 to 4"}, make_idx({1, 1, 1, 1, 1}, counting(1)));
}

TEST(Idx, RefusesTruncatedAndOversizedFiles) {
  const auto content = make_idx({2, 3, 4}, counting(24));
  for (std::size_t cut = 1; cut <= 24; ++cut) {
    expect_bad({"truncated", "2x3x4", "need 40 bytes"}, without_last(content, cut));
    expect_bad({"truncated", "24 elements promised"}, gzip(without_last(content, cut)));
  }
  for (std::size_t cut = 25; cut <= 36; ++cut)
    expect_bad_both({"truncated", "within its 3 dimensions"}, without_last(content, cut));
  expect_bad({"oversized", "1 more follow"}, joined(content, std::vector<std::byte>(1)));
  expect_bad({"oversized", "expands past the 24 elements"}, gzip(joined(content, std::vector<std::byte>(1))));
}

TEST(Idx, RefusesDimensionsOfZeroAndAbsurdOnes) {
  expect_bad_both({"dimension of 0", "2x0x4"}, make_idx({2, 0, 4}, {}));
  expect_bad_both({"dimension of 0"}, make_idx({0}, {}));
  expect_bad_both({"4294967295x4294967295x4294967295x4294967295", "more than the"},
                  make_idx({~0u, ~0u, ~0u, ~0u}, counting(100)));
  // The product is 2^64: it wraps to 0 in 64 bits.
  expect_bad_both({"65536x65536x65536x65536", "more than the"},
                  make_idx({65536, 65536, 65536, 65536}, counting(9)));
  expect_bad_both({"more than the 8589934592"}, make_idx({65536, 65536, 3}, counting(9)));
  // Small enough to be read, but nowhere in the file.
  expect_bad({"truncated", "4294967295 elements"}, make_idx({~0u}, counting(9)));
  expect_bad({"truncated", "bytes of gzip data can hold"}, gzip(make_idx({~0u}, counting(9))));
}

TEST(Idx, RefusesGzipThatExpandsPastItsHeadersPromise) {
  // 16 MiB of zeros behind a header for 10 of them: refused at the eleventh.
  const auto bomb = gzip(joined(make_idx({10}, {}), std::vector<std::byte>(16 << 20)), 9);
  EXPECT_LT(bomb.size(), 20'000u);
  expect_bad({"oversized", "expands past the 10 elements (10)"}, bomb);
  const auto members = joined(gzip(make_idx({10}, counting(10))), gzip(make_idx({10}, counting(10))));
  expect_bad({"oversized", "expands past the 10 elements"}, members);
}

TEST(Idx, RefusesDamagedGzip) {
  const auto content = make_idx({1000}, counting(1000));
  const auto file = gzip(content);
  for (std::size_t size = 2; size < file.size(); ++size) {
    SCOPED_TRACE(size);
    expect_error(ErrorKind::input, {"'f.idx'", "download it again"},
                 [&] { parse_idx(std::span(file).first(size), "f.idx"); });
  }
  expect_bad({"cut short"}, without_last(file, 1));
  expect_bad({"cut short"}, without_last(file, 9));
  expect_bad({"cut short"}, std::span(file).first(2));
  auto flipped = file;
  flipped[flipped.size() - 6] ^= std::byte{1};  // checksum
  expect_bad({"damaged", "data check"}, flipped);
  flipped = file;
  flipped[flipped.size() - 1] ^= std::byte{1};  // length
  expect_bad({"damaged", "length check"}, flipped);
  flipped = file;
  flipped[2] = std::byte{7};  // method
  expect_bad({"damaged", "compression method"}, flipped);
  expect_bad({"3 bytes follow the end"}, joined(file, std::vector<std::byte>(3)));
  expect_bad({"cut short"}, joined(file, std::span(file).first(2)));
}

TEST(Idx, LoadsFromAFileWhateverItsName) {
  test::TemporaryFolder folder;
  test::put(folder / "a.gz", make_idx({3}, counting(3)));
  test::put(folder / "b", gzip(make_idx({3}, counting(3))));
  EXPECT_EQ(load_idx(folder / "a.gz").values, counting(3));
  EXPECT_EQ(load_idx(folder / "b").values, counting(3));
  expect_error(ErrorKind::input, {"missing", "check the path"}, [&] { load_idx(folder / "missing"); });
}

}  // namespace
}  // namespace quern
