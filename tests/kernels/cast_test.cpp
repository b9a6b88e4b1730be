#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/cast.cuh"
#include "tests/kernels/targets.hpp"

namespace quern {
namespace {

using test::DeviceArray;

class Cast : public test::TargetTest {
 protected:
  std::vector<std::uint16_t> to_bf16(const std::vector<float>& x) {
    const DeviceArray<float> from(device(), x);
    const DeviceArray<std::uint16_t> to(device(), x.size());
    QUERN_RUN(cast_to_bf16, {from.data(), to.data(), static_cast<std::int64_t>(x.size())});
    return to.host();
  }
  std::vector<float> to_f32(const std::vector<std::uint16_t>& x) {
    const DeviceArray<std::uint16_t> from(device(), x);
    const DeviceArray<float> to(device(), x.size());
    QUERN_RUN(cast_to_f32, {from.data(), to.data(), static_cast<std::int64_t>(x.size())});
    return to.host();
  }
};

TEST_P(Cast, RoundsToNearestEven) {
  // bf16 has 7 bits behind the point: between 1 and 2 its numbers are 1/128 apart.
  EXPECT_EQ(to_bf16({1.0f, 1 + 0x1p-8f, 1 + 0x3p-8f, 1 + 0x1.01p-8f, -1 - 0x3p-8f, 0.0f, -0.0f}),
            (std::vector<std::uint16_t>{0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xbf82, 0x0000, 0x8000}));
  EXPECT_EQ(to_bf16({std::numeric_limits<float>::max(), std::numeric_limits<float>::infinity()}),
            (std::vector<std::uint16_t>{0x7f80, 0x7f80}));
  EXPECT_TRUE(std::isnan(to_f32(to_bf16({std::numeric_limits<float>::quiet_NaN()}))[0]));
}

TEST_P(Cast, IsExactBackAndForth) {
  // Across a block's end, every seventh number of bf16's first thousands.
  for (const std::size_t count : {1, 255, 256, 257, 1000}) {
    std::vector<std::uint16_t> bits(count);
    for (std::size_t i = 0; i < count; ++i) bits[i] = static_cast<std::uint16_t>(0x3000 + 7 * i);
    const std::vector<float> values = to_f32(bits);
    for (std::size_t i = 0; i < count; ++i)
      ASSERT_EQ(values[i], std::bit_cast<float>(std::uint32_t{bits[i]} << 16));
    EXPECT_EQ(to_bf16(values), bits);
  }
  EXPECT_TRUE(to_f32({}).empty());
}

QUERN_FOR_ALL_TARGETS(Cast);

}  // namespace
}  // namespace quern
