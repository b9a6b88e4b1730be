#include <algorithm>
#include <cmath>

#include "harness.hpp"

namespace quern::testing {
namespace {

/// A batch norm with its parameters; `shape` is that of x.
struct Case {
  Shape shape;
  BatchNormAttrs attrs;
  Values gamma, beta, running_mean, running_var;

  std::int64_t channels() const { return shape[shape.rank() - 1]; }
  Shape y() const {
    if (!attrs.pool) return shape;
    const Window& w = attrs.window;
    return {shape[0], window_output(shape[1], w.r, w.stride_h, 1, w.pad_top, w.pad_bottom),
            window_output(shape[2], w.s, w.stride_w, 1, w.pad_left, w.pad_right), shape[3]};
  }
  OpDesc desc(Direction direction) const {
    const TensorDesc c{DType::f32, {channels()}}, pair{DType::f32, {2, channels()}};
    const TensorDesc big{DType::f32, shape}, out{DType::f32, y()}, argmax{DType::u8, y()};
    OpDesc desc{{OpKind::batchnorm, direction}, attrs, {}, {}};
    if (direction == Direction::backward) {
      desc.inputs = {out, big, c, pair};
      if (attrs.relu) desc.inputs.push_back(out);
      if (attrs.pool) desc.inputs.push_back(argmax);
      desc.outputs = {big, c, c};
      return desc;
    }
    desc.inputs = {big, c, c, c, c};
    desc.outputs = {out};
    if (direction == Direction::forward) {
      if (attrs.stats) desc.inputs.push_back(pair);
      desc.outputs.insert(desc.outputs.end(), {pair, c, c});
      if (attrs.pool) desc.outputs.push_back(argmax);
    }
    return desc;
  }
  Call forward(const Values& x, Direction direction = Direction::forward, const Values& stats = {},
               Storage storage = Storage::full) const {
    Call call(desc(direction), storage);
    call.set("x", x).set("gamma", gamma).set("beta", beta);
    call.set("running_mean", running_mean).set("running_var", running_var);
    if (attrs.stats && direction == Direction::forward) call.set("stats", stats);
    call.run();
    return call;
  }
  Call backward(const Values& dy, const Values& x, const Call& after) const {
    Call call(desc(Direction::backward));
    call.set("dy", dy).set("x", x).set("gamma", gamma).set("saved", after.get("saved"));
    if (attrs.relu) call.set("y", after.get("y"));
    if (attrs.pool) call.set("argmax", after.get("argmax"));
    call.run();
    return call;
  }
};

/// Two rows, one channel: mean 2, variance 1, and an epsilon that makes 1 / sqrt(var + eps) = 1/2.
Case by_hand() {
  Case test{{2, 1}, {}, {2}, {1}, {10}, {4}};
  test.attrs.epsilon = 3;
  test.attrs.momentum = 0.75f;
  return test;
}

TEST(ReferenceBatchNorm, ForwardByHand) {
  Case test = by_hand();
  Call call = test.forward({1, 3});
  EXPECT_EQ(call.get("y"), (Values{0, 2}));
  EXPECT_EQ(call.get("saved"), (Values{2, 0.5}));
  EXPECT_EQ(call.get("running_mean"), (Values{8}));
  EXPECT_EQ(call.get("running_var"), (Values{3.25}));
  test.beta = {0.5};
  EXPECT_EQ(test.forward({1, 3}).get("y"), (Values{-0.5, 1.5}));
  test.attrs.relu = true;
  EXPECT_EQ(test.forward({1, 3}).get("y"), (Values{0, 1.5}));
}

TEST(ReferenceBatchNorm, InferenceUsesTheRunningStatistics) {
  Case test = by_hand();
  test.running_mean = {1};
  test.running_var = {1};
  EXPECT_EQ(test.forward({5, -3}, Direction::inference).get("y"), (Values{5, -3}));
  test.attrs.relu = true;
  EXPECT_EQ(test.forward({5, -3}, Direction::inference).get("y"), (Values{5, 0}));
}

TEST(ReferenceBatchNorm, StatisticsMayComeWithTheInput) {
  Case test = by_hand();
  test.attrs.stats = true;
  Call call = test.forward({1, 3}, Direction::forward, {1, 6});  // wrong ones on purpose: 1 / sqrt(9)
  EXPECT_EQ(call.get("saved"), (Values{1, 1.0 / 3}));
  EXPECT_EQ(call.get("y"), (Values{1, 2 * (2.0 / 3) + 1}));
  EXPECT_EQ(call.get("running_mean"), (Values{7.75}));
  EXPECT_EQ(call.get("running_var"), (Values{4.5}));
}

TEST(ReferenceBatchNorm, ChannelsAreApart) {
  Case test{{2, 1, 2, 2}, {}, {1, 1}, {0, 100}, {0, 0}, {1, 1}};
  test.attrs.epsilon = 1e-12f;
  // Channel 0: 1, 1, 3, 3; channel 1: 10 twice, 30 twice.
  expect_near(test.forward({1, 10, 1, 10, 3, 30, 3, 30}).get("y"), {-1, 99, -1, 99, 1, 101, 1, 101}, 1e-9,
              "y");
}

TEST(ReferenceBatchNorm, VarianceKeepsItsDigitsFarFromZero) {
  Case test{{4, 1}, {}, {1}, {0}, {0}, {0}};
  test.attrs.momentum = 0;
  const Call call =
      test.forward({1e7 + 1, 1e7 + 2, 1e7 + 3, 1e7 + 4}, Direction::forward, {}, Storage::single);
  EXPECT_EQ(call.get("running_var"), (Values{1.25}));
}

TEST(ReferenceBatchNorm, PooledByHand) {
  Case test{{1, 2, 4, 1}, {}, {-1}, {0}, {0}, {1}};
  test.attrs.pool = true;
  test.attrs.window = {.r = 2, .s = 2, .stride_h = 2, .stride_w = 2};
  test.running_mean = {0};
  test.running_var = {1};
  test.attrs.epsilon = 3;  // y = -x / 2: the maximum is the smallest x
  const Values x = {4, 2, 6, 8, 3, 5, 6, 7};
  EXPECT_EQ(test.forward(x, Direction::inference).get("y"), (Values{-1, -3}));
  // With the ReLU all candidates are zero.
  test.attrs.relu = true;
  EXPECT_EQ(test.forward(x, Direction::inference).get("y"), (Values{0, 0}));
  EXPECT_EQ(test.forward(Values(8, 1.0)).get("argmax"), (Values{0, 0}));
  test.attrs.relu = false;
  EXPECT_EQ(test.forward(x).get("argmax"), (Values{1, 0}));  // 6 stands twice: the first
}

/// The fused operation in float storage gives the very bits of its parts; in channel 2 the normalised values
/// differ by less than a float can tell, so that all of them tie.
TEST(ReferenceBatchNorm, FusedPoolingEqualsItsParts) {
  for (const Window window :
       {Window{.r = 2, .s = 2, .stride_h = 2, .stride_w = 2},
        Window{.r = 3, .s = 2, .stride_h = 2, .stride_w = 1, .pad_top = 1, .pad_right = 1}}) {
    Case fused{{2, 6, 5, 3}, {}, {1.5, -0.5, 1e-9}, {0.1, 0.2, 0.3}, {0, 0, 0}, {1, 1, 1}};
    fused.attrs.relu = fused.attrs.pool = true;
    fused.attrs.window = window;
    const Values x = random_values(fused.shape.elements(), 7);
    const Call together = fused.forward(x, Direction::forward, {}, Storage::single);

    Case plain = fused;
    plain.attrs.relu = plain.attrs.pool = false;
    const Values y = plain.forward(x, Direction::forward, {}, Storage::single).get("y");
    Pool2dAttrs attrs;
    attrs.window = window;
    attrs.save_argmax = true;
    Call pool({{OpKind::maxpool2d, Direction::forward},
               attrs,
               {{DType::f32, fused.shape}},
               {{DType::f32, fused.y()}, {DType::u8, fused.y()}}},
              Storage::single);
    pool.set("x", rectified(y)).run();
    EXPECT_EQ(together.get("y"), pool.get("y"));
    EXPECT_EQ(together.get("argmax"), pool.get("argmax"));
  }
}

TEST(ReferenceBatchNorm, BackwardByHand) {
  // xhat = -1/2, 1/2 (inverse deviation 1/2); dy = 1, 3: dbeta 4, dgamma 1.
  // dx = gamma / 2 * (dy - 2 - xhat / 2) = (-1 + 1/4, 1 - 1/4).
  const Case test = by_hand();
  const Call call = test.backward({1, 3}, {1, 3}, test.forward({1, 3}));
  EXPECT_EQ(call.get("dbeta"), (Values{4}));
  EXPECT_EQ(call.get("dgamma"), (Values{1}));
  EXPECT_EQ(call.get("dx"), (Values{-0.75, 0.75}));
}

/// No value near the ReLU's kink; in a window, values are equal or well apart.
void expect_away_from_kinks(const Case& test, const Values& x) {
  Case plain = test;
  plain.attrs.relu = plain.attrs.pool = false;
  const Values y = plain.forward(x).get("y");
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (test.attrs.relu) {
      ASSERT_GT(std::abs(y[i]), 1e-3) << "element " << i;
    }
    if (!test.attrs.pool) continue;
    for (std::size_t j = i % static_cast<std::size_t>(test.channels()); j < i;
         j += static_cast<std::size_t>(test.channels())) {
      ASSERT_TRUE(x[i] == x[j] || std::abs(y[i] - y[j]) > 1e-3) << "elements " << i << " and " << j;
    }
  }
}

TEST(ReferenceBatchNorm, GradientsAreThoseOfFiniteDifferences) {
  const Window tiles{.r = 2, .s = 2, .stride_h = 2, .stride_w = 2};
  const Window overlapping{.r = 3, .s = 2, .stride_h = 2, .stride_w = 1, .pad_top = 1, .pad_right = 1};
  const Window gaps{.r = 1, .s = 2, .stride_h = 2, .stride_w = 3};
  for (int flags = 0; flags < 16; ++flags) {
    const bool relu = (flags & 1) != 0, mask = (flags & 2) != 0;
    const int pooling = flags / 4;  // 0: none
    Case test{{2, 4, 5, 2}, {}, {1.3, -0.7}, {0.31, 0.17}, {0, 0}, {1, 1}};
    test.attrs.relu = relu;
    test.attrs.mask = mask;
    test.attrs.pool = pooling != 0;
    if (test.attrs.pool) test.attrs.window = pooling == 1 ? tiles : pooling == 2 ? overlapping : gaps;
    SCOPED_TRACE(fmt::format("relu {} mask {} pooling {}", relu, mask, pooling));

    const Values u = distinct_values(test.shape.elements(), 11);
    const Values seed = random_values(test.y().elements(), 12);
    const auto source = [&](const Values& from) { return mask ? rectified(from) : from; };
    const auto loss = [&](const Case& c, const Values& from) {
      return dot(c.forward(source(from)).get("y"), seed);
    };
    const Values x = source(u);
    ASSERT_NO_FATAL_FAILURE(expect_away_from_kinks(test, x));
    const Call gradients = test.backward(seed, x, test.forward(x));

    expect_near(gradients.get("dx"), numeric_gradient(u, [&](const Values& v) { return loss(test, v); }),
                1e-7, "dx");
    expect_near(gradients.get("dgamma"),
                numeric_gradient(test.gamma,
                                 [&](const Values& v) {
                                   Case moved = test;
                                   moved.gamma = v;
                                   return loss(moved, u);
                                 }),
                1e-7, "dgamma");
    expect_near(gradients.get("dbeta"),
                numeric_gradient(test.beta,
                                 [&](const Values& v) {
                                   Case moved = test;
                                   moved.beta = v;
                                   return loss(moved, u);
                                 }),
                1e-7, "dbeta");
  }
}

TEST(ReferenceBatchNorm, GradientsOfMatricesToo) {
  for (const Shape shape : {Shape{6, 3}, Shape{2, 3, 3}}) {
    Case test{shape, {}, {1.3, -0.7, 0.4}, {0.31, 0.17, 0.2}, {0, 0, 0}, {1, 1, 1}};
    const Values x = distinct_values(shape.elements(), 3), dy = random_values(shape.elements(), 4);
    expect_near(test.backward(dy, x, test.forward(x)).get("dx"),
                numeric_gradient(x, [&](const Values& v) { return dot(test.forward(v).get("y"), dy); }), 1e-7,
                "dx");
  }
}

}  // namespace
}  // namespace quern::testing
