/// Runs a fuzz target over its seeds and thousands of mutations of them, the same ones each time, and watches
/// how much memory a single allocation asks for: a small file must never make a parser reserve a lot.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <random>

#include "tests/fuzz/fuzz_target.hpp"

namespace {

std::atomic<std::size_t> largest_allocation{0};

void* count_and_allocate(std::size_t size) {
  if (size > largest_allocation) largest_allocation = size;
  void* pointer = std::malloc(size == 0 ? 1 : size);
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

}  // namespace

// The program's own allocation functions; zlib and libpng call malloc and have limits of their own.
void* operator new(std::size_t size) {
  return count_and_allocate(size);
}
void* operator new[](std::size_t size) {
  return count_and_allocate(size);
}
void operator delete(void* pointer) noexcept {
  std::free(pointer);
}
void operator delete[](void* pointer) noexcept {
  std::free(pointer);
}
void operator delete(void* pointer, std::size_t) noexcept {
  std::free(pointer);
}
void operator delete[](void* pointer, std::size_t) noexcept {
  std::free(pointer);
}

namespace quern::fuzz {
namespace {

/// Fed by a generator whose numbers the C++ standard fixes, so every build makes the same mutations.
class Mutator {
 public:
  explicit Mutator(std::vector<Bytes> seeds) : seeds_(std::move(seeds)) {}

  Bytes next() {
    Bytes bytes = seeds_[below(seeds_.size())];
    for (std::size_t edits = 1 + below(4); edits > 0; --edits) edit(bytes);
    return bytes;
  }

 private:
  std::size_t below(std::size_t bound) { return random_() % bound; }

  void edit(Bytes& bytes) {
    if (bytes.empty()) bytes.push_back(std::byte{0});
    const std::size_t at = below(bytes.size());
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const std::size_t count = 1 + below(std::min<std::size_t>(bytes.size() - at, 16));
    switch (below(9)) {
      case 0:
        bytes[at] ^= static_cast<std::byte>(1u << below(8));
        break;
      case 1:
        bytes[at] = static_cast<std::byte>(below(256));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.erase(place, place + static_cast<std::ptrdiff_t>(count));
        break;
      case 4: {
        const Bytes copy(place, place + static_cast<std::ptrdiff_t>(count));
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(below(bytes.size() + 1)), copy.begin(),
                     copy.end());
        break;
      }
      case 5:
        bytes.insert(place, count, static_cast<std::byte>(below(256)));
        break;
      case 6:
        put_number(bytes, at);
        break;
      case 7: {
        const Bytes& other = seeds_[below(seeds_.size())];
        const auto from = static_cast<std::ptrdiff_t>(below(other.size() + 1));
        bytes.resize(at);
        bytes.insert(bytes.end(), other.begin() + from, other.end());
        break;
      }
      default:
        put_digit(bytes, at);
        break;
    }
  }

  /// A number at the edge of something, in 1, 2, 4 or 8 bytes of either order.
  void put_number(Bytes& bytes, std::size_t at) {
    constexpr std::uint64_t kEdges[] = {0,
                                        1,
                                        0x7F,
                                        0x80,
                                        0xFF,
                                        0x7FFF,
                                        0xFFFF,
                                        0x7FFFFFFF,
                                        0x80000000,
                                        0xFFFFFFFF,
                                        0x7FFFFFFFFFFFFFFF,
                                        0x8000000000000000,
                                        0xFFFFFFFFFFFFFFFF};
    const std::uint64_t value = kEdges[below(std::size(kEdges))] + below(3) - 1;
    const std::size_t width = std::size_t{1} << below(4);
    const bool big_endian = below(2) == 0;
    for (std::size_t i = 0; i < width && at + i < bytes.size(); ++i)
      bytes[at + i] = static_cast<std::byte>(value >> 8 * (big_endian ? width - 1 - i : i));
  }

  /// Replaces the next decimal digit, for numbers written as text.
  void put_digit(Bytes& bytes, std::size_t at) {
    const auto digit = std::find_if(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(),
                                    [](std::byte b) { return b >= std::byte{'0'} && b <= std::byte{'9'}; });
    if (digit != bytes.end()) *digit = static_cast<std::byte>('0' + below(10));
  }

  std::vector<Bytes> seeds_;
  std::mt19937_64 random_;
};

void run(const Bytes& input) {
  largest_allocation = 0;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  const std::size_t largest = largest_allocation;
  if (largest <= allocation_limit(input.size())) return;
  std::string hex;
  for (std::size_t i = 0; i < std::min<std::size_t>(input.size(), 200); ++i)
    hex += fmt::format("{:02x}", std::to_integer<unsigned>(input[i]));
  ADD_FAILURE() << input.size() << " bytes made one allocation of " << largest << ", the limit is "
                << allocation_limit(input.size()) << ": " << hex;
}

TEST(FuzzReplay, EveryPrefixOfEverySeed) {
  for (const Bytes& seed : seeds()) {
    const std::size_t step = std::max<std::size_t>(1, seed.size() / 64);
    for (std::size_t size = 0; size < seed.size(); size += step)
      run({seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(size)});
    run(seed);
  }
}

TEST(FuzzReplay, ThousandsOfMutations) {
  const char* const more = std::getenv("QUERN_FUZZ_INPUTS");
  const long inputs = more != nullptr ? std::strtol(more, nullptr, 10) : 10000;
  ASSERT_GT(inputs, 0) << "QUERN_FUZZ_INPUTS is " << more << ": give a number";
  Mutator mutator(seeds());
  for (long i = 0; i < inputs; ++i) {
    run(mutator.next());
    if (HasFailure()) break;
  }
}

TEST(FuzzReplay, TheWatchOnAllocationsWorks) {
  largest_allocation = 0;
  const std::vector<char> block(123'456);
  EXPECT_EQ(largest_allocation, block.size());
}

}  // namespace
}  // namespace quern::fuzz
