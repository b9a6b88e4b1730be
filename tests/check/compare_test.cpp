// Comparison: the order of faults, both sides of a tolerance, the argmax judge, fences.

#include "check/compare.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "check/descs.hpp"
#include "check/fenced.hpp"

namespace quern::check {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

HostTensor tensor(const std::vector<float>& values) {
  HostTensor t(TensorDesc{DType::f32, {static_cast<std::int64_t>(values.size())}});
  std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
  return t;
}

TEST(Compare, AcceptsUpToTheToleranceAndNothingBeyond) {
  const Limits limits{0.5, 0.25, 1};
  EXPECT_FALSE(compare(tensor({4}), tensor({5.5}), limits).deviation);
  EXPECT_FALSE(compare(tensor({-4}), tensor({-5.5}), limits).deviation);
  const Comparison beyond = compare(tensor({1, 4, 4}), tensor({1, 5.75, 5.6f}), limits);
  ASSERT_TRUE(beyond.deviation);
  EXPECT_EQ(beyond.deviation->fault, Fault::element);
  EXPECT_EQ(beyond.deviation->index, 1u);
  EXPECT_EQ(beyond.deviation->count, 2u);
  EXPECT_DOUBLE_EQ(beyond.deviation->tolerance, 1.5);
  EXPECT_NEAR(beyond.worst, 1.75 / 1.5, 1e-12);
}

TEST(Compare, NamesTheWorstElement) {
  const Comparison c = compare(tensor({0, 0, 0, 0}), tensor({2, 0, -9, 3}), {1, 0, 1});
  ASSERT_TRUE(c.deviation);
  EXPECT_EQ(c.deviation->index, 2u);
  EXPECT_EQ(c.deviation->got, -9);
  EXPECT_EQ(c.deviation->count, 3u);
}

TEST(Compare, NanFailsBeforeEverythingElse) {
  const Comparison c = compare(tensor({1, 2, 3}), tensor({100, kNan, 3}), {1, 0, 1});
  ASSERT_TRUE(c.deviation);
  EXPECT_EQ(c.deviation->fault, Fault::nonfinite);
  EXPECT_EQ(c.deviation->index, 1u);
}

TEST(Compare, NonFiniteValuesMustBeTheReferences) {
  const Limits wide{1e30, 1, 1};
  EXPECT_FALSE(compare(tensor({kNan, kInf, -kInf}), tensor({-kNan, kInf, -kInf}), wide).deviation);
  EXPECT_TRUE(compare(tensor({kInf}), tensor({-kInf}), wide).deviation);
  EXPECT_TRUE(compare(tensor({kInf}), tensor({kNan}), wide).deviation);
  EXPECT_TRUE(compare(tensor({kNan}), tensor({1}), wide).deviation);
  EXPECT_TRUE(compare(tensor({1}), tensor({kInf}), wide).deviation);
}

TEST(Compare, ExactMeansEqualByValue) {
  EXPECT_FALSE(compare(tensor({0.0f, 3}), tensor({-0.0f, 3}), {}).deviation);
  const Comparison c = compare(tensor({3}), tensor({std::nextafter(3.0f, 4.0f)}), {});
  ASSERT_TRUE(c.deviation);
  EXPECT_EQ(c.deviation->fault, Fault::element);
}

TEST(Compare, ManySmallErrorsFailTogether) {
  const std::vector<float> ones(1000, 1.0f), off(1000, 1.009f);
  EXPECT_FALSE(compare(tensor(ones), tensor(off), {0, 0.01, 1e-3}).deviation);
  const Comparison c = compare(tensor(ones), tensor(off), {0, 0.01, 1e-5});
  ASSERT_TRUE(c.deviation);
  EXPECT_EQ(c.deviation->fault, Fault::nmse);
  EXPECT_NEAR(c.nmse, 8.1e-5, 1e-6);
}

TEST(Compare, BytesAndIntegersAreCompared) {
  HostTensor a(TensorDesc{DType::u8, {3}}), b(TensorDesc{DType::u8, {3}});
  b.bytes[2] = std::byte{1};
  ASSERT_TRUE(compare(a, b, {}).deviation);
  EXPECT_EQ(compare(a, b, {}).deviation->index, 2u);
}

TEST(Compare, CoordinatesAreRowMajor) {
  EXPECT_EQ(coordinates({2, 3, 4, 5}, 119), "[1,2,3,4]");
  EXPECT_EQ(coordinates({7}, 3), "[3]");
}

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(from_bf16(to_bf16(1.0f)), 1.0f);
  EXPECT_EQ(from_bf16(to_bf16(1.0f + 0x1p-8f)), 1.0f);           // tie: to even
  EXPECT_EQ(from_bf16(to_bf16(1.0f + 3 * 0x1p-8f)), 1.015625f);  // tie: to even
  EXPECT_EQ(from_bf16(to_bf16(1.0f + 0x1.8p-8f)), 1.0078125f);
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16(kNan))));
  EXPECT_EQ(from_bf16(to_bf16(-kInf)), -kInf);
}

/// One window of 2x2 over a 2x2 image.
class Argmax : public ::testing::Test {
 protected:
  ArgmaxComparison judge(const std::vector<float>& z, int expected, int got, bool relu = false) {
    BatchNormAttrs attrs;
    attrs.pool = true;
    attrs.relu = relu;
    attrs.window = {2, 2, 2, 2};
    const OpDesc desc = batchnorm_desc(Direction::forward, {1, 2, 2, 1}, attrs);
    HostTensor x(desc.inputs[0]), image(desc.inputs[0]), gamma(desc.inputs[1]);
    gamma.as<float>()[0] = gamma_;
    for (std::size_t i = 0; i < 4; ++i) x.as<float>()[i] = x_.empty() ? static_cast<float>(i) : x_[i];
    std::memcpy(image.bytes.data(), z.data(), image.bytes.size());
    HostTensor want(desc.outputs.back()), have(desc.outputs.back());
    want.bytes[0] = static_cast<std::byte>(expected);
    have.bytes[0] = static_cast<std::byte>(got);
    return compare_argmax({desc, x, gamma, image, {1e-3, 0, 1}}, want, have);
  }
  float gamma_ = 1;
  std::vector<float> x_;
};

TEST_F(Argmax, AClearWinnerMustBeFound) {
  EXPECT_FALSE(judge({0, 1, 0, 0}, 1, 1).comparison.deviation);
  const ArgmaxComparison wrong = judge({0, 1, 0, 0}, 1, 2);
  EXPECT_EQ(wrong.clear, 1u);
  ASSERT_TRUE(wrong.comparison.deviation);
}

TEST_F(Argmax, ANearTieMayGoEitherWay) {
  EXPECT_FALSE(judge({0, 1, 0.9995f, 0}, 1, 2).comparison.deviation);
  EXPECT_TRUE(judge({0, 1, 0.9995f, 0}, 1, 3).comparison.deviation);
}

TEST_F(Argmax, AnExactTieGoesToTheFirst) {
  x_ = {0, 1, 1, 0};
  EXPECT_TRUE(judge({0, 1, 1, 0}, 1, 2).comparison.deviation);
  x_ = {};
  gamma_ = 0;
  EXPECT_TRUE(judge({1, 1, 1, 1}, 0, 2).comparison.deviation);
}

TEST_F(Argmax, ReluTiesWhatItCutsOff) {
  EXPECT_TRUE(judge({-3, -1, -2, -4}, 0, 1, true).comparison.deviation);
  EXPECT_FALSE(judge({-3, -1, -2, -4}, 0, 0, true).comparison.deviation);
}

TEST_F(Argmax, SlotsOutsideTheWindowFail) {
  EXPECT_TRUE(judge({1, 1, 1, 1}, 0, 4).comparison.deviation);
}

TEST(Fence, ShowsDamageToTheByte) {
  const auto cpu = open_device("cpu");
  FencedBuffer buffer(*cpu, 100);
  auto* const bytes = static_cast<std::byte*>(buffer.data());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes) % 256, 0u);
  EXPECT_FALSE(buffer.read().before || buffer.read().after);
  bytes[99] = std::byte{1};
  EXPECT_FALSE(buffer.read().after);
  bytes[100] ^= std::byte{1};
  EXPECT_EQ(buffer.read().after, 0u);
  bytes[-3] ^= std::byte{1};
  EXPECT_EQ(buffer.read().before, 3u);
}

TEST(Fence, PoisonIsRecognisedAndNeverANumberThatPasses) {
  HostTensor t(TensorDesc{DType::f32, {2}});
  t.bytes = poison(DType::f32, 8, Poison::quiet_nan);
  EXPECT_TRUE(std::isnan(t.value(0)));
  EXPECT_TRUE(is_poison(t, 1, Poison::quiet_nan));
  t.as<float>()[1] = kNan;
  EXPECT_FALSE(is_poison(t, 1, Poison::quiet_nan));
  for (const DType type : {DType::f32, DType::bf16, DType::f64}) {
    HostTensor nan(TensorDesc{type, {1}}), finite(TensorDesc{type, {1}});
    nan.bytes = poison(type, size_of(type), Poison::quiet_nan);
    finite.bytes = poison(type, size_of(type), Poison::finite);
    EXPECT_TRUE(std::isnan(nan.value(0))) << to_string(type);
    EXPECT_LT(finite.value(0), -1e29) << to_string(type);
  }
}

}  // namespace
}  // namespace quern::check
