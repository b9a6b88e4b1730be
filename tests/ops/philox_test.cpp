#include "quern/philox.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace quern {
namespace {

using Numbers = std::array<std::uint32_t, 4>;

Numbers numbers(const Philox4& block) {
  return {block.x, block.y, block.z, block.w};
}

// The known answers that Random123, the generator's own distribution, publishes for philox4x32-10.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(numbers(philox4x32_10({0, 0, 0, 0}, 0)),
            (Numbers{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(numbers(philox4x32_10({~0u, ~0u, ~0u, ~0u}, ~std::uint64_t{0})),
            (Numbers{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(numbers(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822)),
            (Numbers{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, ElementsAreTheLanesOfBlocks) {
  for (std::uint64_t element = 0; element < 16; ++element) {
    const Philox4 block = philox_block(7, RandomPurpose::test, 3, 11, element / 4);
    EXPECT_EQ(philox_u32(7, RandomPurpose::test, 3, 11, element), numbers(block)[element % 4]);
  }
}

TEST(Philox, EveryPartOfTheKeyCounts) {
  std::set<std::uint32_t> seen;
  const auto draw = [&](std::uint64_t seed, RandomPurpose purpose, std::uint32_t stream, std::uint32_t step,
                        std::uint64_t element) {
    EXPECT_TRUE(seen.insert(philox_u32(seed, purpose, stream, step, element)).second);
  };
  draw(1, RandomPurpose::dropout, 0, 0, 0);
  draw(2, RandomPurpose::dropout, 0, 0, 0);
  draw(1 + (std::uint64_t{1} << 32), RandomPurpose::dropout, 0, 0, 0);
  draw(1, RandomPurpose::augment, 0, 0, 0);
  draw(1, RandomPurpose::dropout, 1, 0, 0);
  draw(1, RandomPurpose::dropout, 0, 1, 0);
  draw(1, RandomPurpose::dropout, 0, 0, 1);
  draw(1, RandomPurpose::dropout, 0, 0, 4);
  draw(1, RandomPurpose::dropout, 0, 0, std::uint64_t{1} << 34);
}

TEST(Philox, UniformIsInTheHalfOpenUnitInterval) {
  EXPECT_EQ(uniform_from_u32(0), 0.0f);
  EXPECT_EQ(uniform_from_u32(0x80000000u), 0.5f);
  EXPECT_EQ(uniform_from_u32(~0u), 1.0f - 1.0f / 16777216.0f);
  double sum = 0;
  constexpr int kDraws = 40000;
  for (std::uint64_t i = 0; i < kDraws; ++i)
    sum += static_cast<double>(uniform_from_u32(philox_u32(1, RandomPurpose::test, 0, 0, i)));
  // Five standard errors, sqrt(1 / 12 / n) each.
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * 0.00145);
}

}  // namespace
}  // namespace quern
