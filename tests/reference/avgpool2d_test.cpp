#include "harness.hpp"

namespace quern::testing {
namespace {

struct Case {
  Shape x;
  Window window;
  bool count_include_pad = false;

  Shape y() const {
    return {x[0], window_output(x[1], window.r, window.stride_h, 1, window.pad_top, window.pad_bottom),
            window_output(x[2], window.s, window.stride_w, 1, window.pad_left, window.pad_right), x[3]};
  }
  Pool2dAttrs attrs(bool mask) const {
    Pool2dAttrs attrs;
    attrs.window = window;
    attrs.count_include_pad = count_include_pad;
    attrs.mask = mask;
    return attrs;
  }
  Values forward(const Values& values) const {
    return Call({{OpKind::avgpool2d, Direction::forward},
                 attrs(false),
                 {{DType::f32, x}},
                 {{DType::f32, y()}}})
        .set("x", values)
        .run()
        .get("y");
  }
  Values backward(const Values& dy, const Values* bottom = nullptr) const {
    OpDesc desc{{OpKind::avgpool2d, Direction::backward},
                attrs(bottom != nullptr),
                {{DType::f32, y()}},
                {{DType::f32, x}}};
    if (bottom != nullptr) desc.inputs.push_back({DType::f32, x});
    Call call(desc);
    call.set("dy", dy);
    if (bottom != nullptr) call.set("x", *bottom);
    return call.run().get("dx");
  }
};

TEST(ReferenceAvgPool2d, ByHand) {
  const Case tiles{{1, 2, 4, 1}, {.r = 2, .s = 2, .stride_h = 2, .stride_w = 2}};
  EXPECT_EQ(tiles.forward({1, 2, 5, 6, 4, 3, 8, 9}), (Values{2.5, 7}));
  EXPECT_EQ(tiles.backward({4, 8}), (Values{1, 1, 2, 2, 1, 1, 2, 2}));
  const Values bottom = {1, 0, -1, 2, 0, 0, 3, 0};
  EXPECT_EQ(tiles.backward({4, 8}, &bottom), (Values{1, 0, 0, 2, 0, 0, 2, 0}));
}

TEST(ReferenceAvgPool2d, PaddingCountsOrNot) {
  Case corner{{1, 2, 2, 1},
              {.r = 2,
               .s = 2,
               .stride_h = 2,
               .stride_w = 2,
               .pad_top = 1,
               .pad_left = 1,
               .pad_bottom = 1,
               .pad_right = 1}};
  const Values x = {4, 8, 12, 16};
  EXPECT_EQ(corner.forward(x), x);
  EXPECT_EQ(corner.backward(x), x);
  corner.count_include_pad = true;
  EXPECT_EQ(corner.forward(x), (Values{1, 2, 3, 4}));
  EXPECT_EQ(corner.backward(x), (Values{1, 2, 3, 4}));
}

std::vector<Case> cases() {
  return {
      {{2, 4, 6, 3}, {.r = 2, .s = 2, .stride_h = 2, .stride_w = 2}},
      {{1, 5, 5, 2}, {.r = 3, .s = 3, .stride_h = 1, .stride_w = 2, .pad_top = 1, .pad_left = 2}},
      {{2, 5, 3, 1}, {.r = 2, .s = 3, .stride_h = 3, .stride_w = 1, .pad_bottom = 1, .pad_right = 1}},
      {{1, 3, 3, 2}, {.r = 1, .s = 1, .stride_h = 2, .stride_w = 2}},
  };
}

TEST(ReferenceAvgPool2d, ForwardIsThatOfAPaddedImage) {
  for (Case test : cases()) {
    const Window& window = test.window;
    const Values x = random_values(test.x.elements(), 1);
    const Padded image = padded(test.x, x, window, 0);
    const Padded inside = padded(test.x, Values(x.size(), 1.0), window, 0);
    for (const bool count_include_pad : {false, true}) {
      test.count_include_pad = count_include_pad;
      Values expected;
      for_each_output(test.y(), [&](std::int64_t n, std::int64_t p, std::int64_t q, std::int64_t c) {
        double sum = 0, count = 0;
        for (int r = 0; r < window.r; ++r) {
          for (int s = 0; s < window.s; ++s) {
            sum += image.at(n, p * window.stride_h + r, q * window.stride_w + s, c);
            count += inside.at(n, p * window.stride_h + r, q * window.stride_w + s, c);
          }
        }
        expected.push_back(sum / (count_include_pad ? window.r * window.s : count));
      });
      expect_near(test.forward(x), expected, 1e-14, "y");
    }
  }
}

TEST(ReferenceAvgPool2d, GradientIsThatOfFiniteDifferences) {
  for (Case test : cases()) {
    for (const int flags : {0, 1, 2, 3}) {
      const bool mask = (flags & 1) != 0;
      test.count_include_pad = (flags & 2) != 0;
      SCOPED_TRACE(fmt::format("x {} flags {}", to_string(test.x), flags));
      const Values u = distinct_values(test.x.elements(), 1), dy = random_values(test.y().elements(), 2);
      const auto source = [&](const Values& from) { return mask ? rectified(from) : from; };
      const Values bottom = source(u);
      expect_near(test.backward(dy, mask ? &bottom : nullptr),
                  numeric_gradient(u, [&](const Values& v) { return dot(test.forward(source(v)), dy); }),
                  1e-9, "dx");
    }
  }
}

}  // namespace
}  // namespace quern::testing
