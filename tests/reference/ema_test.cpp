#include "harness.hpp"

namespace quern::testing {
namespace {

Values forward(float decay, const Values& values, const Values& average) {
  const TensorDesc flat{DType::f32, {static_cast<std::int64_t>(values.size())}};
  StepScalars step;
  step.ema_decay = decay;
  return Call({{OpKind::ema, Direction::forward}, EmaAttrs{}, {{DType::u8, {64}}, flat, flat}, {flat}})
      .set_step(step)
      .set("values", values)
      .set("average", average)
      .run()
      .get("average");
}

TEST(ReferenceEma, ByHand) {
  EXPECT_EQ(forward(0.75f, {8, -4}, {4, 0}), (Values{5, -1}));
  EXPECT_EQ(forward(0, {8, -4}, {4, 0}), (Values{8, -4}));
  EXPECT_EQ(forward(1, {8, -4}, {4, 0}), (Values{4, 0}));
}

}  // namespace
}  // namespace quern::testing
