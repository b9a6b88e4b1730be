#include <cmath>
#include <limits>

#include "harness.hpp"

namespace quern::testing {
namespace {

Values forward(const Values& x) {
  const TensorDesc tensor{DType::f32, {static_cast<std::int64_t>(x.size())}};
  return Call({{OpKind::relu, Direction::forward}, NoAttrs{}, {tensor}, {tensor}}).set("x", x).run().get("y");
}

Values backward(const Values& dy, const Values& y) {
  const TensorDesc tensor{DType::f32, {static_cast<std::int64_t>(y.size())}};
  return Call({{OpKind::relu, Direction::backward}, NoAttrs{}, {tensor, tensor}, {tensor}})
      .set("dy", dy)
      .set("y", y)
      .run()
      .get("dx");
}

TEST(ReferenceRelu, ByHand) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(forward({-2, -0.0, 0, 1e-300, 3, -infinity, infinity}),
            (Values{0, 0, 0, 1e-300, 3, 0, infinity}));
  EXPECT_TRUE(std::isnan(forward({std::nan("")})[0]));
  EXPECT_EQ(backward({1, 2, 3, -4}, {0, 5, 0, 6}), (Values{0, 2, 0, -4}));
}

TEST(ReferenceRelu, GradientIsThatOfFiniteDifferences) {
  const Values x = distinct_values(20, 1), dy = random_values(20, 2);
  expect_near(backward(dy, forward(x)),
              numeric_gradient(x, [&](const Values& v) { return dot(forward(v), dy); }), 1e-9, "dx");
}

}  // namespace
}  // namespace quern::testing
