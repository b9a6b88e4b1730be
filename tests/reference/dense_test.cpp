#include "harness.hpp"

namespace quern::testing {
namespace {

constexpr std::int64_t kN = 4, kC = 5, kK = 3;

Call forward(const DenseAttrs& attrs, Shape x_shape, std::int64_t k, const Values& x, const Values& w,
             const Values& bias) {
  OpDesc desc{{OpKind::dense, Direction::forward},
              attrs,
              {{DType::f32, x_shape}, {DType::f32, {k, x_shape[1]}}},
              {{DType::f32, {x_shape[0], k}}}};
  if (attrs.bias) desc.inputs.push_back({DType::f32, {k}});
  if (attrs.stats) desc.outputs.push_back({DType::f32, {2, k}});
  Call call(desc);
  call.set("x", x).set("w", w);
  if (attrs.bias) call.set("bias", bias);
  call.run();
  return call;
}

Values backward_data(const DenseAttrs& attrs, Shape x_shape, std::int64_t k, const Values& dy,
                     const Values& w, const Values& x) {
  OpDesc desc{{OpKind::dense, Direction::backward_data},
              attrs,
              {{DType::f32, {x_shape[0], k}}, {DType::f32, {k, x_shape[1]}}},
              {{DType::f32, x_shape}}};
  if (attrs.mask) desc.inputs.push_back({DType::f32, x_shape});
  Call call(desc);
  call.set("dy", dy).set("w", w);
  if (attrs.mask) call.set("x", x);
  return call.run().get("dx");
}

Call backward_weights(const DenseAttrs& attrs, Shape x_shape, std::int64_t k, const Values& dy,
                      const Values& x) {
  OpDesc desc{{OpKind::dense, Direction::backward_weights},
              attrs,
              {{DType::f32, {x_shape[0], k}}, {DType::f32, x_shape}},
              {{DType::f32, {k, x_shape[1]}}}};
  if (attrs.bias) desc.outputs.push_back({DType::f32, {k}});
  Call call(desc);
  call.set("dy", dy).set("x", x).run();
  return call;
}

TEST(ReferenceDense, ByHand) {
  DenseAttrs attrs;
  const Values x = {1, 2, 3, 4}, w = {1, 10, -1, 0};
  EXPECT_EQ(forward(attrs, {2, 2}, 2, x, w, {}).get("y"), (Values{21, -1, 43, -3}));
  attrs.bias = attrs.relu = attrs.stats = true;
  Call call = forward(attrs, {2, 2}, 2, x, w, {-1, 2});
  EXPECT_EQ(call.get("y"), (Values{20, 1, 42, 0}));
  EXPECT_EQ(call.get("stats"), (Values{31, 0.5, 121, 0.25}));
}

TEST(ReferenceDense, BackwardByHand) {
  DenseAttrs attrs;
  const Values w = {1, 10, -1, 0}, dy = {1, 2, 3, 4};
  EXPECT_EQ(backward_data(attrs, {2, 2}, 2, dy, w, {}), (Values{-1, 10, -1, 30}));
  attrs.mask = attrs.bias = true;
  EXPECT_EQ(backward_data(attrs, {2, 2}, 2, dy, w, {1, 0, -1, 2}), (Values{-1, 0, 0, 30}));
  const Call weights = backward_weights(attrs, {2, 2}, 2, dy, {1, 10, 100, 1000});
  EXPECT_EQ(weights.get("dw"), (Values{301, 3010, 402, 4020}));
  EXPECT_EQ(weights.get("dbias"), (Values{4, 6}));
}

TEST(ReferenceDense, GradientsAreThoseOfFiniteDifferences) {
  const Shape shape{kN, kC};
  for (int flags = 0; flags < 8; ++flags) {
    DenseAttrs attrs;
    attrs.mask = (flags & 1) != 0;
    attrs.relu = (flags & 2) != 0;
    attrs.bias = (flags & 4) != 0;
    SCOPED_TRACE(fmt::format("mask {} relu {} bias {}", attrs.mask, attrs.relu, attrs.bias));
    const Values u = distinct_values(kN * kC, 1), w = random_values(kK * kC, 2);
    const Values bias = attrs.bias ? random_values(kK, 3) : Values{}, seed = random_values(kN * kK, 4);
    const auto source = [&](const Values& from) { return attrs.mask ? rectified(from) : from; };
    const auto loss = [&](const Values& from, const Values& weights, const Values& b) {
      return dot(forward(attrs, shape, kK, source(from), weights, b).get("y"), seed);
    };
    const Values x = source(u), y = forward(attrs, shape, kK, x, w, bias).get("y");
    const Values dy = attrs.relu ? masked(seed, y) : seed;
    expect_near(backward_data(attrs, shape, kK, dy, w, x),
                numeric_gradient(u, [&](const Values& v) { return loss(v, w, bias); }), 1e-8, "dx");
    const Call weights = backward_weights(attrs, shape, kK, dy, x);
    expect_near(weights.get("dw"), numeric_gradient(w, [&](const Values& v) { return loss(u, v, bias); }),
                1e-8, "dw");
    if (attrs.bias)
      expect_near(weights.get("dbias"),
                  numeric_gradient(bias, [&](const Values& v) { return loss(u, w, v); }), 1e-8, "dbias");
  }
}

}  // namespace
}  // namespace quern::testing
