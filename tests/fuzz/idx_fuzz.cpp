/// Plain IDX files (and gzip, where a mutation hits upon its magic).

#include "data/idx.hpp"
#include "tests/data/idx_samples.hpp"
#include "tests/fuzz/fuzz_target.hpp"

using namespace quern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::expect_success_or_input_error([&] {
    const IdxArray array = parse_idx(fuzz::as_bytes(data, size), "fuzz.idx");
    std::uint64_t elements = 1;
    for (const std::int64_t extent : array.extents) elements *= static_cast<std::uint64_t>(extent);
    if (array.extents.empty() || array.extents.size() > 4 || elements != array.values.size())
      fuzz::fail("extents and values disagree");
  });
  return 0;
}

std::vector<fuzz::Bytes> fuzz::seeds() {
  using test::counting, test::make_idx;
  return {make_idx({5}, counting(5)),
          make_idx({2, 3}, counting(6)),
          make_idx({3, 4, 5}, counting(60)),
          make_idx({2, 2, 2, 3}, counting(24)),
          make_idx({1}, counting(1), 0x0D),
          make_idx({~0u, ~0u, ~0u, ~0u}, counting(8)),
          make_idx({65536, 65536, 65536, 65536}, {}),
          make_idx({0, 7}, {}),
          test::gzip(make_idx({3, 4, 5}, counting(60)))};
}

// The values, or zlib's window where the input is gzip.
std::size_t fuzz::allocation_limit(std::size_t input_bytes) {
  return 1032 * input_bytes + (64 << 10);
}
