/// IDX in gzip. Mutated gzip rarely gets past its checksums, so an input is used in two ways: as a file as it
/// stands, and as the IDX content, which is compressed here, whole and cut short at a place that the input
/// decides.

#include "data/idx.hpp"
#include "tests/data/idx_samples.hpp"
#include "tests/fuzz/fuzz_target.hpp"

using namespace quern;

namespace {

bool parses(std::span<const std::byte> content) {
  bool parsed = false;
  fuzz::expect_success_or_input_error([&] {
    parse_idx(content, "fuzz.gz");
    parsed = true;
  });
  return parsed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto content = fuzz::as_bytes(data, size);
  const bool plain = parses(content);
  const fuzz::Bytes file = test::gzip(content, 1);
  const bool is_compressed_already = size >= 2 && data[0] == 0x1F && data[1] == 0x8B;
  if (!is_compressed_already && parses(file) != plain)
    fuzz::fail("plain and compressed content are judged differently");
  if (size > 0 && parses(std::span(file).first(file.size() * data[size - 1] / 256)))
    fuzz::fail("a file cut short was accepted");
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  using test::counting, test::gzip, test::make_idx;
  Bytes past_promise = make_idx({10}, {});
  past_promise.resize(past_promise.size() + 100'000);
  Bytes two = gzip(make_idx({3, 4, 5}, counting(30)));
  const std::vector<std::uint8_t> rest = counting(30);
  const Bytes second = gzip(std::as_bytes(std::span(rest)));
  two.insert(two.end(), second.begin(), second.end());
  return {gzip(make_idx({5}, counting(5))),
          gzip(make_idx({3, 4, 5}, counting(60)), 0),
          gzip(make_idx({1000}, counting(1000)), 9),
          gzip(past_promise, 9),
          two,
          gzip(make_idx({~0u}, counting(8))),
          gzip({}),
          make_idx({2, 3}, counting(6)),
          make_idx({2, 2, 2, 3}, counting(24))};
}

std::size_t fuzz::allocation_limit(std::size_t input_bytes) {
  return 1032 * input_bytes + (64 << 10);
}
