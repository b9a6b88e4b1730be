#include <cmath>
#include <limits>

#include "harness.hpp"
#include "quern/error.hpp"

namespace quern::testing {
namespace {

Call forward(Shape shape, float smoothing, float scale, const Values& logits, const Values& labels) {
  SoftmaxXentAttrs attrs;
  attrs.label_smoothing = smoothing;
  attrs.gradient = true;
  attrs.gradient_scale = scale;
  Call call({{OpKind::softmax_xent, Direction::forward},
             attrs,
             {{DType::f32, shape}, {DType::i32, {shape[0]}}},
             {{DType::f32, {shape[0]}}, {DType::f32, shape}}});
  call.set("logits", logits).set("labels", labels).run();
  return call;
}

TEST(ReferenceSoftmaxXent, ByHand) {
  // exp: 1 and 3, so that the probabilities are 1/4 and 3/4.
  const Values logits = {0, std::log(3.0), 5, 5 + std::log(3.0)};
  const Call call = forward({2, 2}, 0, 0.5f, logits, {0, 1});
  expect_near(call.get("loss"), {std::log(4.0), std::log(4.0 / 3)}, 1e-14, "loss");
  expect_near(call.get("dlogits"), {-0.375, 0.375, 0.125, -0.125}, 1e-14, "dlogits");
}

TEST(ReferenceSoftmaxXent, SmoothingByHand) {
  // Targets 3/4 and 1/4 of two classes.
  const Call call = forward({1, 2}, 0.5f, 1, {0, std::log(3.0)}, {0});
  expect_near(call.get("loss"), {0.75 * std::log(4.0) + 0.25 * std::log(4.0 / 3)}, 1e-14, "loss");
  expect_near(call.get("dlogits"), {0.25 - 0.75, 0.75 - 0.25}, 1e-14, "dlogits");
}

TEST(ReferenceSoftmaxXent, TheGradientIsOptional) {
  Call call({{OpKind::softmax_xent, Direction::forward},
             SoftmaxXentAttrs{},
             {{DType::f32, {1, 4}}, {DType::i32, {1}}},
             {{DType::f32, {1}}}});
  call.set("logits", {2, 2, 2, 2}).set("labels", {3}).run();
  expect_near(call.get("loss"), {std::log(4.0)}, 1e-14, "loss");
}

TEST(ReferenceSoftmaxXent, LargeLogitsDoNotOverflow) {
  const Call call = forward({2, 2}, 0, 1, {1e4, 0, -1e4, -1e4}, {1, 0});
  expect_near(call.get("loss"), {1e4, std::log(2.0)}, 1e-14, "loss");
  expect_near(call.get("dlogits"), {1, -1, -0.5, 0.5}, 1e-14, "dlogits");
}

TEST(ReferenceSoftmaxXent, InfiniteAndNanLogits) {
  const double infinity = std::numeric_limits<double>::infinity();
  // A class that is impossible costs nothing unless it is the label.
  const Call call = forward({2, 2}, 0, 1, {0, -infinity, 0, -infinity}, {0, 1});
  EXPECT_EQ(call.get("loss"), (Values{0, infinity}));
  for (const double value : forward({1, 3}, 0, 1, {0, std::nan(""), 0}, {0}).get("dlogits"))
    EXPECT_TRUE(std::isnan(value));
}

TEST(ReferenceSoftmaxXent, GradientIsThatOfFiniteDifferences) {
  const Shape shape{3, 5};
  const Values logits = random_values(15, 1, -3, 3), labels = {4, 0, 2};
  for (const float smoothing : {0.0f, 0.125f, 1.0f}) {
    for (const float scale : {1.0f, 0.25f}) {
      const auto total = [&](const Values& v) {
        return static_cast<double>(scale) *
               dot(forward(shape, smoothing, scale, v, labels).get("loss"), {1, 1, 1});
      };
      expect_near(forward(shape, smoothing, scale, logits, labels).get("dlogits"),
                  numeric_gradient(logits, total), 1e-8, "dlogits");
    }
  }
}

TEST(ReferenceSoftmaxXent, RefusesALabelThatIsNoClass) {
  for (const double label : {-1.0, 3.0}) EXPECT_THROW(forward({1, 3}, 0, 1, {1, 2, 3}, {label}), Error);
}

}  // namespace
}  // namespace quern::testing
