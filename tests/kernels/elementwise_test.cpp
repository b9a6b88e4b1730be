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

QUERN_FOR_ALL_TARGETS(Elementwise);

}  // namespace
}  // namespace quern
