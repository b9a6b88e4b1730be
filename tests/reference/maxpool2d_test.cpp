#include <algorithm>
#include <cmath>
#include <limits>

#include "harness.hpp"

namespace quern::testing {
namespace {

struct Case {
  Shape x;
  Window window;

  Shape y() const {
    return {x[0], window_output(x[1], window.r, window.stride_h, 1, window.pad_top, window.pad_bottom),
            window_output(x[2], window.s, window.stride_w, 1, window.pad_left, window.pad_right), x[3]};
  }
  Call forward(const Values& values) const {
    Pool2dAttrs attrs;
    attrs.window = window;
    attrs.save_argmax = true;
    Call call({{OpKind::maxpool2d, Direction::forward},
               attrs,
               {{DType::f32, x}},
               {{DType::f32, y()}, {DType::u8, y()}}});
    call.set("x", values).run();
    return call;
  }
  /// `top`: the forward output, where the gradient is masked by it.
  Values backward(const Values& dy, const Values& argmax, const Values* top = nullptr) const {
    Pool2dAttrs attrs;
    attrs.window = window;
    attrs.mask = top != nullptr;
    OpDesc desc{{OpKind::maxpool2d, Direction::backward},
                attrs,
                {{DType::f32, y()}, {DType::u8, y()}},
                {{DType::f32, x}}};
    if (top != nullptr) desc.inputs.push_back({DType::f32, y()});
    Call call(desc);
    call.set("dy", dy).set("argmax", argmax);
    if (top != nullptr) call.set("y", *top);
    return call.run().get("dx");
  }
};

const double kNan = std::nan("");
const double kInfinity = std::numeric_limits<double>::infinity();

TEST(ReferenceMaxPool2d, ByHand) {
  const Case tiles{{1, 2, 4, 1}, {.r = 2, .s = 2, .stride_h = 2, .stride_w = 2}};
  const Call call = tiles.forward({1, 2, 5, 6, 4, 3, 8, 7});
  EXPECT_EQ(call.get("y"), (Values{4, 8}));
  EXPECT_EQ(call.get("argmax"), (Values{2, 2}));
  EXPECT_EQ(tiles.backward({10, 20}, call.get("argmax")), (Values{0, 0, 0, 0, 10, 0, 20, 0}));
  const Values top = {0, 8};
  EXPECT_EQ(tiles.backward({10, 20}, call.get("argmax"), &top), (Values{0, 0, 0, 0, 0, 0, 20, 0}));
}

TEST(ReferenceMaxPool2d, TheArgmaxIsOptional) {
  Pool2dAttrs attrs;
  attrs.window = {.r = 1, .s = 2};
  Call call({{OpKind::maxpool2d, Direction::forward},
             attrs,
             {{DType::f32, {1, 1, 3, 1}}},
             {{DType::f32, {1, 1, 2, 1}}}});
  EXPECT_EQ(call.set("x", {3, 1, 2}).run().get("y"), (Values{3, 2}));
}

TEST(ReferenceMaxPool2d, TheFirstMaximumWinsATie) {
  const Case window{{1, 2, 2, 1}, {.r = 2, .s = 2}};
  EXPECT_EQ(window.forward({5, 5, 5, 5}).get("argmax"), (Values{0}));
  EXPECT_EQ(window.forward({1, 5, 5, 5}).get("argmax"), (Values{1}));
  EXPECT_EQ(window.forward({-0.0, 0.0, 0, 0}).get("argmax"), (Values{0}));
  EXPECT_EQ(window.forward({-kInfinity, -kInfinity, -kInfinity, -kInfinity}).get("argmax"), (Values{0}));
}

TEST(ReferenceMaxPool2d, TheFirstNanWins) {
  const Case window{{1, 2, 2, 1}, {.r = 2, .s = 2}};
  for (const auto& [x, index] : std::vector<std::pair<Values, double>>{
           {{kNan, 9, 1, 2}, 0}, {{9, kNan, kNan, kInfinity}, 1}, {{kInfinity, 1, 2, kNan}, 3}}) {
    const Call call = window.forward(x);
    EXPECT_TRUE(std::isnan(call.get("y")[0]));
    EXPECT_EQ(call.get("argmax")[0], index);
  }
}

TEST(ReferenceMaxPool2d, PaddingNeverWins) {
  // 3x3 windows at the corners of a 2x2 image, all of it negative; a zero of the padding would be larger.
  const Case padded{{1, 2, 2, 1},
                    {.r = 3,
                     .s = 3,
                     .stride_h = 2,
                     .stride_w = 2,
                     .pad_top = 2,
                     .pad_left = 2,
                     .pad_bottom = 1,
                     .pad_right = 1}};
  const Call call = padded.forward({-4, -3, -2, -1});
  EXPECT_EQ(padded.y(), (Shape{1, 2, 2, 1}));
  EXPECT_EQ(call.get("y"), (Values{-4, -3, -2, -1}));
  // In the window's own numbering, rows and columns of padding count.
  EXPECT_EQ(call.get("argmax"), (Values{8, 7, 5, 4}));
  // Not even against minus infinity.
  EXPECT_EQ(padded.forward(Values(4, -kInfinity)).get("argmax"), (Values{8, 6, 2, 0}));
}

TEST(ReferenceMaxPool2d, AnIndexGoesUpTo255) {
  const Case window{{1, 16, 16, 1}, {.r = 16, .s = 16}};
  Values x(256, 0.0);
  x[255] = 1;
  const Call call = window.forward(x);
  EXPECT_EQ(call.get("argmax"), (Values{255}));
  Values expected(256, 0.0);
  expected[255] = 3;
  EXPECT_EQ(window.backward({3}, call.get("argmax")), expected);
}

TEST(ReferenceMaxPool2d, OverlappingWindowsAddUp) {
  const Case window{{1, 1, 3, 1}, {.r = 1, .s = 2}};
  const Call call = window.forward({1, 9, 2});
  EXPECT_EQ(window.backward({10, 5}, call.get("argmax")), (Values{0, 15, 0}));
}

std::vector<Case> cases() {
  return {
      {{2, 4, 6, 3}, {.r = 2, .s = 2, .stride_h = 2, .stride_w = 2}},
      {{1, 5, 5, 2}, {.r = 3, .s = 3, .stride_h = 1, .stride_w = 2, .pad_top = 1, .pad_left = 2}},
      {{2, 5, 3, 1}, {.r = 2, .s = 3, .stride_h = 3, .stride_w = 1, .pad_bottom = 1, .pad_right = 1}},
      {{1, 3, 3, 2}, {.r = 1, .s = 1, .stride_h = 2, .stride_w = 2}},
  };
}

TEST(ReferenceMaxPool2d, ForwardIsThatOfAPaddedImage) {
  for (const Case& test : cases()) {
    const Window& window = test.window;
    const Values x = distinct_values(test.x.elements(), 1);
    const Padded image = padded(test.x, x, window, -kInfinity);
    Values maxima, indices;
    for_each_output(test.y(), [&](std::int64_t n, std::int64_t p, std::int64_t q, std::int64_t c) {
      Values candidates;
      for (int r = 0; r < window.r; ++r)
        for (int s = 0; s < window.s; ++s)
          candidates.push_back(image.at(n, p * window.stride_h + r, q * window.stride_w + s, c));
      const auto largest = std::max_element(candidates.begin(), candidates.end());
      maxima.push_back(*largest);
      indices.push_back(static_cast<double>(largest - candidates.begin()));
    });
    const Call call = test.forward(x);
    EXPECT_EQ(call.get("y"), maxima);
    EXPECT_EQ(call.get("argmax"), indices);
  }
}

TEST(ReferenceMaxPool2d, GradientIsThatOfFiniteDifferences) {
  for (const Case& test : cases()) {
    for (const bool mask : {false, true}) {
      SCOPED_TRACE(fmt::format("x {} mask {}", to_string(test.x), mask));
      const Values u = distinct_values(test.x.elements(), 1), dy = random_values(test.y().elements(), 2);
      const auto source = [&](const Values& from) { return mask ? rectified(from) : from; };
      const Call call = test.forward(source(u));
      const Values top = call.get("y");
      expect_near(
          test.backward(dy, call.get("argmax"), mask ? &top : nullptr),
          numeric_gradient(u, [&](const Values& v) { return dot(test.forward(source(v)).get("y"), dy); }),
          1e-9, "dx");
    }
  }
}

}  // namespace
}  // namespace quern::testing
