#include "harness.hpp"

namespace quern::testing {
namespace {

struct Case {
  std::int64_t n, h, w, c, k;
  Conv2dAttrs attrs;

  Shape x() const { return {n, h, w, c}; }
  Shape filters() const { return {k, attrs.window.r, attrs.window.s, c / attrs.groups}; }
  Shape y() const {
    const Window& a = attrs.window;
    return {n, window_output(h, a.r, a.stride_h, attrs.dilation_h, a.pad_top, a.pad_bottom),
            window_output(w, a.s, a.stride_w, attrs.dilation_w, a.pad_left, a.pad_right), k};
  }
};

Call forward(const Case& test, const Values& x, const Values& w, const Values& bias) {
  OpDesc desc{{OpKind::conv2d, Direction::forward},
              test.attrs,
              {{DType::f32, test.x()}, {DType::f32, test.filters()}},
              {{DType::f32, test.y()}}};
  if (test.attrs.bias) desc.inputs.push_back({DType::f32, {test.k}});
  if (test.attrs.stats) desc.outputs.push_back({DType::f32, {2, test.k}});
  Call call(desc);
  call.set("x", x).set("w", w);
  if (test.attrs.bias) call.set("bias", bias);
  call.run();
  return call;
}

/// `x` is read only where the mask is on.
Values backward_data(const Case& test, const Values& dy, const Values& w, const Values& x) {
  OpDesc desc{{OpKind::conv2d, Direction::backward_data},
              test.attrs,
              {{DType::f32, test.y()}, {DType::f32, test.filters()}},
              {{DType::f32, test.x()}}};
  if (test.attrs.mask) desc.inputs.push_back({DType::f32, test.x()});
  Call call(desc);
  call.set("dy", dy).set("w", w);
  if (test.attrs.mask) call.set("x", x);
  return call.run().get("dx");
}

Call backward_weights(const Case& test, const Values& dy, const Values& x) {
  OpDesc desc{{OpKind::conv2d, Direction::backward_weights},
              test.attrs,
              {{DType::f32, test.y()}, {DType::f32, test.x()}},
              {{DType::f32, test.filters()}}};
  if (test.attrs.bias) desc.outputs.push_back({DType::f32, {test.k}});
  Call call(desc);
  call.set("dy", dy).set("x", x).run();
  return call;
}

const Values kImage = {1, 2, 3, 4, 5, 6, 7, 8, 9};
const Values kFilter = {1, 2, 3, 4};

Case small(Window window) {
  Case test{1, 3, 3, 1, 1, {}};
  test.attrs.window = window;
  return test;
}

TEST(ReferenceConv2d, ByHand) {
  Case test = small({.r = 2, .s = 2});
  EXPECT_EQ(forward(test, kImage, kFilter, {}).get("y"), (Values{37, 47, 67, 77}));
  test.attrs.bias = test.attrs.relu = test.attrs.stats = true;
  Call call = forward(test, kImage, kFilter, {-57});
  EXPECT_EQ(call.get("y"), (Values{0, 0, 10, 20}));
  EXPECT_EQ(call.get("stats"), (Values{7.5, 68.75}));  // after the ReLU
}

TEST(ReferenceConv2d, PaddingStrideAndDilationByHand) {
  // Zeros on top and on the left only.
  EXPECT_EQ(forward(small({.r = 2, .s = 2, .pad_top = 1, .pad_left = 1}), kImage, kFilter, {}).get("y"),
            (Values{4, 11, 18, 18, 37, 47, 36, 67, 77}));
  // Bottom and right only, stride 2: the windows at (0, 0), (0, 2), (2, 0), (2, 2).
  EXPECT_EQ(forward(small({.r = 2, .s = 2, .stride_h = 2, .stride_w = 2, .pad_bottom = 1, .pad_right = 1}),
                    kImage, kFilter, {})
                .get("y"),
            (Values{37, 3 + 18, 7 + 16, 9}));
  Case dilated = small({.r = 2, .s = 2});
  dilated.attrs.dilation_h = dilated.attrs.dilation_w = 2;
  EXPECT_EQ(forward(dilated, kImage, kFilter, {}).get("y"), (Values{1 + 6 + 21 + 36}));
}

TEST(ReferenceConv2d, GroupsByHand) {
  Case test{1, 1, 1, 4, 4, {}};
  test.attrs.groups = 2;
  // Filters 0 and 1 see channels 0 and 1, filters 2 and 3 see channels 2 and 3.
  EXPECT_EQ(forward(test, {1, 2, 3, 4}, {1, 10, 100, 1000, 1, 10, 100, 1000}, {}).get("y"),
            (Values{21, 2100, 43, 4300}));
}

TEST(ReferenceConv2d, BackwardByHand) {
  Case test = small({.r = 2, .s = 2});
  const Values dy = {1, 10, 100, 1000};
  EXPECT_EQ(backward_data(test, dy, kFilter, {}), (Values{1, 12, 20, 103, 1234, 2040, 300, 3400, 4000}));
  test.attrs.mask = true;
  const Values x = {1, 0, -1, 1, 0, 1, 0, 1, -2};
  EXPECT_EQ(backward_data(test, dy, kFilter, x), (Values{1, 0, 0, 103, 0, 2040, 0, 3400, 0}));
  test.attrs.bias = true;
  const Call weights = backward_weights(test, dy, kImage);
  EXPECT_EQ(weights.get("dw"),
            (Values{1 + 20 + 400 + 5000, 2 + 30 + 500 + 6000, 4 + 50 + 700 + 8000, 5 + 60 + 800 + 9000}));
  EXPECT_EQ(weights.get("dbias"), (Values{1111}));
}

TEST(ReferenceConv2d, ANanReachesEveryOutputThatReadsIt) {
  Values x = kImage;
  x[0] = std::nan("");
  Case test = small({.r = 2, .s = 2});
  test.attrs.relu = true;
  const Values y = forward(test, x, kFilter, {}).get("y");
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(Values(y.begin() + 1, y.end()), (Values{47, 67, 77}));
}

std::vector<Case> cases() {
  std::vector<Case> list;
  const auto add = [&](std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t k,
                       Window window, int dilation_h = 1, int dilation_w = 1, int groups = 1) {
    Case test{n, h, w, c, k, {}};
    test.attrs.window = window;
    test.attrs.dilation_h = dilation_h;
    test.attrs.dilation_w = dilation_w;
    test.attrs.groups = groups;
    list.push_back(test);
  };
  add(2, 4, 5, 2, 3, {.r = 3, .s = 3});
  add(1, 1, 1, 3, 2, {});
  add(2, 5, 4, 1, 2, {.r = 3, .s = 2, .stride_h = 2, .stride_w = 1, .pad_top = 1, .pad_left = 1});
  add(1, 5, 6, 2, 2, {.r = 2, .s = 3, .stride_h = 1, .stride_w = 3, .pad_bottom = 1, .pad_right = 2});
  add(1, 6, 7, 1, 2, {.r = 2, .s = 3, .stride_h = 2, .stride_w = 1, .pad_top = 2, .pad_right = 1}, 3, 2);
  add(2, 3, 3, 4, 6, {.r = 2, .s = 2, .pad_left = 1}, 1, 1, 2);
  add(1, 3, 4, 3, 3, {.r = 3, .s = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}, 1, 1, 3);
  // A stride beyond the window: some of the image is never read.
  add(1, 5, 5, 1, 1, {.r = 1, .s = 1, .stride_h = 3, .stride_w = 2});
  // Padding wider than the window: some outputs are the bias alone.
  add(1, 2, 2, 1, 1, {.r = 2, .s = 2, .pad_top = 3, .pad_left = 2, .pad_bottom = 2, .pad_right = 3});
  return list;
}

TEST(ReferenceConv2d, ForwardIsThatOfAPaddedImage) {
  for (Case test : cases()) {
    SCOPED_TRACE(fmt::format("x {}", to_string(test.x())));
    const Values x = random_values(test.x().elements(), 1), w = random_values(test.filters().elements(), 2);
    const Padded image = padded(test.x(), x, test.attrs.window, 0);
    const Window& window = test.attrs.window;
    const std::int64_t group_c = test.c / test.attrs.groups, group_k = test.k / test.attrs.groups;
    Values expected;
    for_each_output(test.y(), [&](std::int64_t n, std::int64_t p, std::int64_t q, std::int64_t k) {
      double sum = 0;
      auto tap = static_cast<std::size_t>(k * window.r * window.s * group_c);
      for (int r = 0; r < window.r; ++r)
        for (int s = 0; s < window.s; ++s)
          for (std::int64_t c = 0; c < group_c; ++c)
            sum += w[tap++] * image.at(n, p * window.stride_h + r * test.attrs.dilation_h,
                                       q * window.stride_w + s * test.attrs.dilation_w,
                                       k / group_k * group_c + c);
      expected.push_back(sum);
    });
    expect_near(forward(test, x, w, {}).get("y"), expected, 1e-14, "y");
  }
}

TEST(ReferenceConv2d, GradientsAreThoseOfFiniteDifferences) {
  for (Case test : cases()) {
    for (const int flags : {0, 1, 2, 3}) {
      test.attrs.mask = (flags & 1) != 0;
      test.attrs.relu = (flags & 2) != 0;
      test.attrs.bias = flags != 1;
      SCOPED_TRACE(
          fmt::format("x {} mask {} relu {}", to_string(test.x()), test.attrs.mask, test.attrs.relu));
      const Values u = distinct_values(test.x().elements(), 1);
      const Values w = random_values(test.filters().elements(), 2);
      const Values bias = test.attrs.bias ? random_values(test.k, 3) : Values{};
      const Values seed = random_values(test.y().elements(), 4);
      const auto source = [&](const Values& from) { return test.attrs.mask ? rectified(from) : from; };
      const auto loss = [&](const Values& from, const Values& filters, const Values& b) {
        return dot(forward(test, source(from), filters, b).get("y"), seed);
      };

      const Values x = source(u), y = forward(test, x, w, bias).get("y");
      // The ReLU of the epilogue is undone by whoever made dy.
      const Values dy = test.attrs.relu ? masked(seed, y) : seed;
      expect_near(backward_data(test, dy, w, x),
                  numeric_gradient(u, [&](const Values& v) { return loss(v, w, bias); }), 1e-8, "dx");
      const Call weights = backward_weights(test, dy, x);
      expect_near(weights.get("dw"), numeric_gradient(w, [&](const Values& v) { return loss(u, v, bias); }),
                  1e-8, "dw");
      if (test.attrs.bias)
        expect_near(weights.get("dbias"),
                    numeric_gradient(bias, [&](const Values& v) { return loss(u, w, v); }), 1e-8, "dbias");
    }
  }
}

}  // namespace
}  // namespace quern::testing
