#include <limits>

#include "harness.hpp"

namespace quern::testing {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A step of two samples, three gradients and two running statistics.
Call judge(const Values& loss, const Values& grads, const Values& guard) {
  const TensorDesc four{DType::f64, {4}}, running{DType::f32, {2}};
  OpDesc desc{{OpKind::guard, Direction::forward},
              GuardAttrs{true},
              {{DType::f32, {2}}, {DType::f32, {3}}, four, four, four, running, running},
              {four, four, four, running, running}};
  Call call(desc);
  call.set("loss", loss)
      .set("grads", grads)
      .set("metrics", {5, 3, 4, 1})
      .set("kept_metrics", {2, 1, 2, 0})
      .set("guard", guard)
      .set("running", {7, 8})
      .set("kept_running", {-7, -8});
  call.run();
  return call;
}

TEST(ReferenceGuard, KeepsWhatAFiniteStepLeaves) {
  const Call call = judge({1, 2}, {3e38, -3e38, 0}, {1, 6, 2, 4});
  EXPECT_EQ(call.get("guard"), (Values{0, 6, 0, 4}));
  for (const char* name : {"metrics", "kept_metrics"}) EXPECT_EQ(call.get(name), (Values{5, 3, 4, 1}));
  for (const char* name : {"running", "kept_running"}) EXPECT_EQ(call.get(name), (Values{7, 8}));
}

TEST(ReferenceGuard, TakesBackAStepThatIsNotFinite) {
  const Values good{1, 2, 3};
  for (const double bad : {kNan, kInfinity, -kInfinity})
    for (const bool in_loss : {true, false}) {
      const Call call =
          in_loss ? judge({1, bad}, good, {0, 6, 4, 4}) : judge({1, 2}, {1, 2, bad}, {0, 6, 4, 4});
      EXPECT_EQ(call.get("guard"), (Values{1, 7, 5, 5}));
      for (const char* name : {"metrics", "kept_metrics"}) EXPECT_EQ(call.get(name), (Values{2, 1, 2, 0}));
      for (const char* name : {"running", "kept_running"}) EXPECT_EQ(call.get(name), (Values{-7, -8}));
    }
}

}  // namespace
}  // namespace quern::testing
