#include <cmath>

#include "harness.hpp"
#include "quern/philox.hpp"

namespace quern::testing {
namespace {

StepScalars step_of(std::uint64_t seed, std::uint32_t step) {
  StepScalars scalars;
  scalars.seed = seed;
  scalars.step = step;
  return scalars;
}

Values apply(Direction direction, float probability, std::uint32_t stream, const StepScalars& step,
             const Values& values) {
  DropoutAttrs attrs;
  attrs.probability = probability;
  attrs.stream = stream;
  const TensorDesc tensor{DType::f32, {static_cast<std::int64_t>(values.size())}};
  const bool forward = direction == Direction::forward;
  return Call({{OpKind::dropout, direction}, attrs, {tensor, {DType::u8, {64}}}, {tensor}})
      .set(forward ? "x" : "dy", values)
      .set_step(step)
      .run()
      .get(forward ? "y" : "dx");
}

TEST(ReferenceDropout, KeepsWhatTheDefinitionKeeps) {
  const Values y = apply(Direction::forward, 0.25f, 5, step_of(42, 17), Values(1000, 3.0));
  for (std::uint64_t i = 0; i < y.size(); ++i) {
    const bool kept = uniform_from_u32(philox_u32(42, RandomPurpose::dropout, 5, 17, i)) >= 0.25f;
    EXPECT_EQ(y[i], kept ? 4.0 : 0.0) << i;
  }
}

TEST(ReferenceDropout, DropsTheAskedShareAndKeepsTheMean) {
  for (const float p : {0.1f, 0.5f, 0.9f}) {
    constexpr int kCount = 40000;
    const Values y = apply(Direction::forward, p, 0, step_of(1, 0), Values(kCount, 1.0));
    double kept = 0;
    for (const double value : y) kept += value != 0 ? 1 : 0;
    const double q = 1 - static_cast<double>(p);
    const double deviation = std::sqrt(q * (1 - q) / kCount);
    EXPECT_NEAR(kept / kCount, q, 5 * deviation);
    EXPECT_NEAR(dot(y, Values(kCount, 1.0 / kCount)), 1.0, 5 * deviation / q);
  }
}

TEST(ReferenceDropout, BackwardDrawsTheSameMaskAgain) {
  const Values x = random_values(500, 1, 0.5, 1), dy = random_values(500, 2, 0.5, 1);
  const Values y = apply(Direction::forward, 0.5f, 3, step_of(7, 9), x);
  const Values dx = apply(Direction::backward, 0.5f, 3, step_of(7, 9), dy);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(dx[i], y[i] != 0 ? 2 * dy[i] : 0) << i;
  expect_near(
      dx,
      numeric_gradient(
          x, [&](const Values& v) { return dot(apply(Direction::forward, 0.5f, 3, step_of(7, 9), v), dy); }),
      1e-8, "dx");
}

TEST(ReferenceDropout, SeedStreamAndStepEachGiveAnotherMask) {
  const Values ones(200, 1.0);
  const Values base = apply(Direction::forward, 0.5f, 3, step_of(7, 9), ones);
  EXPECT_EQ(base, apply(Direction::forward, 0.5f, 3, step_of(7, 9), ones));
  EXPECT_NE(base, apply(Direction::forward, 0.5f, 3, step_of(8, 9), ones));
  EXPECT_NE(base, apply(Direction::forward, 0.5f, 4, step_of(7, 9), ones));
  EXPECT_NE(base, apply(Direction::forward, 0.5f, 3, step_of(7, 10), ones));
}

TEST(ReferenceDropout, ProbabilityZeroIsTheIdentity) {
  const Values x = random_values(100, 1);
  EXPECT_EQ(apply(Direction::forward, 0, 0, step_of(1, 1), x), x);
}

TEST(ReferenceDropout, ADroppedNanIsZero) {
  const Values y = apply(Direction::forward, 0.5f, 0, step_of(1, 1), Values(64, std::nan("")));
  int zeros = 0, nans = 0;
  for (const double value : y) {
    zeros += value == 0 ? 1 : 0;
    nans += std::isnan(value) ? 1 : 0;
  }
  EXPECT_GT(zeros, 0);
  EXPECT_EQ(zeros + nans, 64);
}

}  // namespace
}  // namespace quern::testing
