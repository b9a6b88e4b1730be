#include "harness.hpp"

namespace quern::testing {
namespace {

Values forward(bool relu, const Values& a, const Values& b) {
  AddAttrs attrs;
  attrs.relu = relu;
  const TensorDesc tensor{DType::f32, {static_cast<std::int64_t>(a.size())}};
  return Call({{OpKind::add, Direction::forward}, attrs, {tensor, tensor}, {tensor}})
      .set("a", a)
      .set("b", b)
      .run()
      .get("y");
}

TEST(ReferenceAdd, ByHand) {
  EXPECT_EQ(forward(false, {1, -2, 3}, {10, -20, -3}), (Values{11, -22, 0}));
  EXPECT_EQ(forward(true, {1, -2, 3}, {10, -20, -3}), (Values{11, 0, 0}));
}

/// dy serves both operands, behind the mask of the fused ReLU.
TEST(ReferenceAdd, GradientIsThatOfFiniteDifferences) {
  for (const bool relu : {false, true}) {
    const Values a = distinct_values(16, 1), b(16, 0.01), dy = random_values(16, 2);
    const Values expected = relu ? masked(dy, forward(relu, a, b)) : dy;
    expect_near(expected, numeric_gradient(a, [&](const Values& v) { return dot(forward(relu, v, b), dy); }),
                1e-9, "da");
    expect_near(expected, numeric_gradient(b, [&](const Values& v) { return dot(forward(relu, a, v), dy); }),
                1e-9, "db");
  }
}

}  // namespace
}  // namespace quern::testing
