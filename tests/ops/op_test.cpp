#include <gmock/gmock.h>

#include <set>

#include "quern/error.hpp"
#include "valid_descs.hpp"

namespace quern::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

template <class F>
std::string input_error(const F& function) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

TEST(OpKey, EveryNameIsParsedBack) {
  std::set<std::string> names;
  for (const OpKey& key : all_operations()) {
    EXPECT_EQ(parse_op_key(to_string(key)), key);
    EXPECT_TRUE(names.insert(to_string(key)).second) << to_string(key);
    EXPECT_NE(key.kind, OpKind::flatten) << "a view has no implementation table";
  }
  EXPECT_EQ(names.size(), 28u);
}

TEST(OpKey, AnUnknownNameIsRefusedWithTheKnownOnes) {
  const std::string near = input_error([] { parse_op_key("conv2d.backward_weight"); });
  EXPECT_THAT(near, AllOf(HasSubstr("'conv2d.backward_weight'"), HasSubstr("relu.forward"),
                          HasSubstr("did you mean 'conv2d.backward_weights'?")));
  EXPECT_THAT(input_error([] { parse_op_key("xylophone"); }),
              AllOf(HasSubstr("softmax_xent.forward"), Not(HasSubstr("did you mean"))));
  for (const char* text : {"", "conv2d", "conv2d.", "conv2d.inference", "flatten.forward", "Conv2d.forward"})
    EXPECT_FALSE(input_error([&] { parse_op_key(text); }).empty()) << text;
}

TEST(WindowOutput, FollowsTheFormula) {
  EXPECT_EQ(window_output(28, 3, 1, 1, 0, 0), 26);
  EXPECT_EQ(window_output(28, 3, 1, 1, 1, 1), 28);
  EXPECT_EQ(window_output(28, 2, 2, 1, 0, 0), 14);
  EXPECT_EQ(window_output(13, 2, 2, 1, 0, 0), 6);  // the last column is not reached
  EXPECT_EQ(window_output(13, 2, 2, 1, 0, 1), 7);
  EXPECT_EQ(window_output(9, 3, 2, 2, 1, 2), 4);  // dilated 5, padded 12: floor(7 / 2) + 1
  EXPECT_EQ(window_output(1, 1, 7, 1, 0, 0), 1);
  EXPECT_EQ(window_output(5, 5, 1, 1, 0, 0), 1);
  EXPECT_EQ(window_output(1, 3, 1, 1, 1, 1), 1);
}

TEST(WindowOutput, RefusesAWindowThatDoesNotFit) {
  EXPECT_THAT(input_error([] { window_output(4, 5, 1, 1, 0, 0); }), HasSubstr("does not fit"));
  EXPECT_THAT(input_error([] { window_output(4, 3, 1, 2, 0, 0); }), HasSubstr("does not fit"));
  for (const auto& [kernel, stride, dilation, before, after] : std::vector<std::array<int, 5>>{
           {0, 1, 1, 0, 0}, {1, 0, 1, 0, 0}, {1, 1, 0, 0, 0}, {1, 1, 1, -1, 0}, {1, 1, 1, 0, -1}})
    EXPECT_FALSE(input_error([&, k = kernel, s = stride, d = dilation, b = before, a = after] {
                   window_output(8, k, s, d, b, a);
                 }).empty());
}

TEST(Describe, TellsOperandsAndAttributes) {
  Conv2dAttrs attrs;
  attrs.window = {.r = 3, .s = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  attrs.bias = attrs.relu = true;
  const OpDesc desc{{OpKind::conv2d, Direction::forward},
                    attrs,
                    {f32({64, 28, 28, 1}), f32({32, 3, 3, 1}), f32({32})},
                    {f32({64, 28, 28, 32})},
                    Precision::tf32};
  EXPECT_EQ(describe(desc),
            "conv2d.forward x=f32[64x28x28x1] w=f32[32x3x3x1] bias=f32[32] -> y=f32[64x28x28x32] "
            "3x3 stride 1 pad 1 bias relu tf32");
  std::set<std::string> lines;
  for (const OpDesc& valid : all_valid_descs()) {
    const std::string line = describe(valid);
    EXPECT_THAT(line, AllOf(HasSubstr(to_string(valid.op)), Not(HasSubstr("\n")), Not(HasSubstr("?"))));
    EXPECT_TRUE(lines.insert(line).second) << line;
  }
}

TEST(Describe, LeavesOutWhatTheDirectionDoesNotLookAt) {
  EXPECT_EQ(describe(dense_desc(Direction::backward_weights)),
            "dense.backward_weights dy=f32[5x3] x=f32[5x12] -> dw=f32[3x12] dbias=f32[3] bias");
  EXPECT_EQ(describe(dense_desc(Direction::backward_data)),
            "dense.backward_data dy=f32[5x3] w=f32[3x12] x=f32[5x12] -> dx=f32[5x12] mask");
}

}  // namespace
}  // namespace quern::testing
