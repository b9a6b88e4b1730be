#include <cmath>
#include <limits>

#include "harness.hpp"
#include "providers/reference/view.hpp"

namespace quern::reference {
namespace {

TEST(Bf16, EveryValueRoundsToItself) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const double value = from_bf16(half);
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(from_bf16(to_bf16(value))));
    else
      EXPECT_EQ(to_bf16(value), half) << value;
  }
}

TEST(Bf16, RoundsToNearestTiesToEven) {
  const double unit = 1.0 / 128;  // between neighbours above 1
  EXPECT_EQ(from_bf16(to_bf16(1 + unit / 2)), 1.0);
  EXPECT_EQ(from_bf16(to_bf16(1 + 3 * unit / 2)), 1 + 2 * unit);
  EXPECT_EQ(from_bf16(to_bf16(-1 - unit / 2)), -1.0);
  // Just beyond the tie, by less than a float can tell: rounding through float would give 1.
  EXPECT_EQ(from_bf16(to_bf16(1 + unit / 2 + std::ldexp(1.0, -40))), 1 + unit);
  EXPECT_EQ(from_bf16(to_bf16(1 + 3 * unit / 2 - std::ldexp(1.0, -40))), 1 + unit);
}

TEST(Bf16, IsTheNearestOfItsNeighbours) {
  for (const double scale : {1e-39, 1e-20, 1.0, 1e30}) {
    for (const double value : testing::random_values(2000, 5, 0.001 * scale, 100 * scale)) {
      const std::uint16_t bits = to_bf16(value);
      const double error = std::abs(from_bf16(bits) - value);
      EXPECT_LE(error, std::abs(from_bf16(static_cast<std::uint16_t>(bits + 1)) - value));
      if (bits > 0) {
        EXPECT_LE(error, std::abs(from_bf16(static_cast<std::uint16_t>(bits - 1)) - value));
      }
    }
  }
}

TEST(Bf16, Extremes) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double largest = from_bf16(0x7F7F);
  EXPECT_EQ(to_bf16(infinity), 0x7F80);
  EXPECT_EQ(to_bf16(-infinity), 0xFF80);
  EXPECT_EQ(to_bf16(largest * 1.001), 0x7F7F);
  EXPECT_EQ(to_bf16(largest * 1.01), 0x7F80);
  EXPECT_EQ(to_bf16(1e300), 0x7F80);
  EXPECT_EQ(to_bf16(0.0), 0);
  EXPECT_EQ(to_bf16(-0.0), 0x8000);
  EXPECT_EQ(to_bf16(1e-300), 0);
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16(std::nan("")))));
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16(std::nan("1")))));
}

}  // namespace
}  // namespace quern::reference
