#include "harness.hpp"

namespace quern::testing {
namespace {

const Shape kX{2, 3, 2, 2};
const Shape kY{2, 2};

Values forward(const Values& x, Shape shape = kX) {
  return Call({{OpKind::global_avgpool, Direction::forward},
               GlobalPoolAttrs{},
               {{DType::f32, shape}},
               {{DType::f32, {shape[0], shape[3]}}}})
      .set("x", x)
      .run()
      .get("y");
}

Values backward(const Values& dy, const Values* x) {
  GlobalPoolAttrs attrs;
  attrs.mask = x != nullptr;
  OpDesc desc{{OpKind::global_avgpool, Direction::backward}, attrs, {{DType::f32, kY}}, {{DType::f32, kX}}};
  if (x != nullptr) desc.inputs.push_back({DType::f32, kX});
  Call call(desc);
  call.set("dy", dy);
  if (x != nullptr) call.set("x", *x);
  return call.run().get("dx");
}

TEST(ReferenceGlobalAvgPool, ByHand) {
  EXPECT_EQ(forward({1, 10, 3, 30, 5, 50, 7, 70}, {1, 2, 2, 2}), (Values{4, 40}));
  EXPECT_EQ(forward({1, 10, 3, 30}, {2, 1, 1, 2}), (Values{1, 10, 3, 30}));
  Values x(24, 1.0);
  x[2] = 0;
  Values expected;
  for (const double sample : {1.0, 3.0})
    for (int pixel = 0; pixel < 6; ++pixel) expected.insert(expected.end(), {sample, sample + 1});
  EXPECT_EQ(backward({6, 12, 18, 24}, nullptr), expected);
  expected[2] = 0;
  EXPECT_EQ(backward({6, 12, 18, 24}, &x), expected);
}

TEST(ReferenceGlobalAvgPool, GradientIsThatOfFiniteDifferences) {
  for (const bool mask : {false, true}) {
    const Values u = distinct_values(kX.elements(), 1), dy = random_values(kY.elements(), 2);
    const auto source = [&](const Values& from) { return mask ? rectified(from) : from; };
    const Values x = source(u);
    expect_near(backward(dy, mask ? &x : nullptr),
                numeric_gradient(u, [&](const Values& v) { return dot(forward(source(v)), dy); }), 1e-9,
                "dx");
  }
}

}  // namespace
}  // namespace quern::testing
