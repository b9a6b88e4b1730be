#include <cmath>
#include <limits>

#include "kernels/add.cuh"
#include "kernels/relu.cuh"
#include "tests/kernels/targets.hpp"

namespace quern {
namespace {

using test::DeviceArray;

class Elementwise : public test::TargetTest {
 protected:
  static std::vector<float> values(std::size_t count, int salt) {
    std::vector<float> v(count);
    for (std::size_t i = 0; i < count; ++i)
      v[i] = static_cast<float>(static_cast<int>((i * 7919 + 13 * salt) % 17) - 8);
    return v;
  }
};

// Ragged tails, one element, exactly one block, one more.
const std::size_t kSizes[] = {1, 2, 3, 4, 5, 1023, 1024, 1025, 4099};

TEST_P(Elementwise, ReluForward) {
  for (const std::size_t n : kSizes) {
    const auto x = values(n, 1);
    const DeviceArray<float> dx(device(), x), dy(device(), n);
    QUERN_RUN(relu_forward, {dx.data(), dy.data(), static_cast<std::int64_t>(n)});
    const auto y = dy.host();
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(y[i], std::max(x[i], 0.0f)) << i << " of " << n;
  }
}

TEST_P(Elementwise, ReluForwardKeepsNaN) {
  std::vector<float> x(7, -1.0f);
  x[2] = std::numeric_limits<float>::quiet_NaN();
  x[6] = std::numeric_limits<float>::quiet_NaN();
  const DeviceArray<float> dx(device(), x), dy(device(), x.size());
  QUERN_RUN(relu_forward, {dx.data(), dy.data(), static_cast<std::int64_t>(x.size())});
  const auto y = dy.host();
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::isnan(y[i]), std::isnan(x[i])) << i;
}

TEST_P(Elementwise, ReluForwardUnaligned) {
  const auto x = values(1030, 2);
  const DeviceArray<float> dx(device(), x), dy(device(), std::vector<float>(1030, -5.0f));
  QUERN_RUN(relu_forward, {dx.data() + 1, dy.data() + 2, 1027});
  const auto y = dy.host();
  EXPECT_EQ(y[0], -5.0f);
  EXPECT_EQ(y[1], -5.0f);
  EXPECT_EQ(y[1029], -5.0f);
  for (std::size_t i = 0; i < 1027; ++i) ASSERT_EQ(y[i + 2], std::max(x[i + 1], 0.0f)) << i;
}

TEST_P(Elementwise, ReluBackward) {
  for (const std::size_t n : kSizes) {
    const auto g = values(n, 3), y = values(n, 4);
    const DeviceArray<float> dg(device(), g), dy(device(), y), dx(device(), n);
    QUERN_RUN(relu_backward, {dg.data(), dy.data(), dx.data(), static_cast<std::int64_t>(n)});
    const auto x = dx.host();
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(x[i], y[i] > 0 ? g[i] : 0.0f) << i << " of " << n;
  }
}

TEST_P(Elementwise, Add) {
  for (const bool relu : {false, true}) {
    for (const std::size_t n : kSizes) {
      const auto a = values(n, 5), b = values(n, 6);
      const DeviceArray<float> da(device(), a), db(device(), b), dy(device(), n);
      QUERN_RUN(add_forward, {da.data(), db.data(), dy.data(), static_cast<std::int64_t>(n), relu});
      const auto y = dy.host();
      for (std::size_t i = 0; i < n; ++i)
        ASSERT_EQ(y[i], relu ? std::max(a[i] + b[i], 0.0f) : a[i] + b[i]) << i << " of " << n;
    }
  }
}

TEST_P(Elementwise, InPlaceAndEmpty) {
  const auto a = values(100, 7), b = values(100, 8);
  const DeviceArray<float> da(device(), a), db(device(), b);
  QUERN_RUN(add_forward, {da.data(), db.data(), da.data(), 100, false});
  QUERN_RUN(relu_forward, {da.data(), da.data(), 100});
  QUERN_RUN(relu_forward, {da.data(), da.data(), 0});
  const auto y = da.host();
  for (std::size_t i = 0; i < 100; ++i) ASSERT_EQ(y[i], std::max(a[i] + b[i], 0.0f)) << i;
}

// In bf16: eight elements a thread, small integers exact, one rounding where the sum needs more bits.
TEST_P(Elementwise, Bf16) {
  const auto narrow = [](const std::vector<float>& values) {
    std::vector<std::uint16_t> bits;
    for (const float value : values) bits.push_back(test::bf16_bits(value));
    return bits;
  };
  for (const std::size_t n : {1, 7, 8, 9, 2047, 2048, 2049, 4099}) {
    const auto a = values(n, 9), b = values(n, 10);
    const auto elements = static_cast<std::int64_t>(n);
    const DeviceArray<std::uint16_t> da(device(), narrow(a)), db(device(), narrow(b)), dy(device(), n);
    QUERN_RUN(add_forward, {da.data(), db.data(), dy.data(), elements, false, DType::bf16});
    const auto sums = dy.host();
    QUERN_RUN(relu_forward, {da.data(), dy.data(), elements, DType::bf16});
    const auto positive = dy.host();
    QUERN_RUN(relu_backward, {db.data(), da.data(), dy.data(), elements, DType::bf16});
    const auto masked = dy.host();
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_EQ(test::bf16_value(sums[i]), a[i] + b[i]) << i << " of " << n;
      ASSERT_EQ(test::bf16_value(positive[i]), std::max(a[i], 0.0f)) << i << " of " << n;
      ASSERT_EQ(test::bf16_value(masked[i]), a[i] > 0 ? b[i] : 0.0f) << i << " of " << n;
    }
  }
  // 256 + 1 and 256 + 3 lie between two neighbours: ties go to the even one.
  const DeviceArray<std::uint16_t> a(device(), narrow({256, 256, -256, 0})),
      b(device(), narrow({1, 3, -1, 0})), y(device(), 4);
  QUERN_RUN(add_forward, {a.data(), b.data(), y.data(), 4, false, DType::bf16});
  const auto rounded = y.host();
  EXPECT_EQ(test::bf16_value(rounded[0]), 256);
  EXPECT_EQ(test::bf16_value(rounded[1]), 260);
  EXPECT_EQ(test::bf16_value(rounded[2]), -256);
}

TEST_P(Elementwise, Bf16UnalignedKeepsItsNeighbours) {
  std::vector<std::uint16_t> from(1040, test::bf16_bits(-2)), to(1040, test::bf16_bits(5));
  from[6] = test::bf16_bits(std::numeric_limits<float>::quiet_NaN());
  const DeviceArray<std::uint16_t> x(device(), from), y(device(), to);
  QUERN_RUN(relu_forward, {x.data() + 3, y.data() + 1, 1037, DType::bf16});
  const auto got = y.host();
  EXPECT_EQ(test::bf16_value(got[0]), 5);
  EXPECT_EQ(test::bf16_value(got[1038]), 5);
  for (std::size_t i = 1; i < 1038; ++i)
    ASSERT_TRUE(i == 4 ? std::isnan(test::bf16_value(got[i])) : test::bf16_value(got[i]) == 0) << i;
}

QUERN_FOR_ALL_TARGETS(Elementwise);

}  // namespace
}  // namespace quern
