#include <gtest/gtest.h>

#include "valid_descs.hpp"

namespace quern::testing {
namespace {

/// The seed's second convolution at batch 64: 13x13x32 to 11x11x64, 3x3.
OpDesc seed_conv(Direction direction, bool bias, bool relu) {
  Conv2dAttrs attrs;
  attrs.window = {.r = 3, .s = 3};
  attrs.bias = bias;
  attrs.relu = relu;
  const TensorDesc x = f32({64, 13, 13, 32}), w = f32({64, 3, 3, 32}), y = f32({64, 11, 11, 64}),
                   b = f32({64});
  OpDesc desc{{OpKind::conv2d, direction}, attrs, {}, {}};
  if (direction == Direction::forward) desc.inputs = {x, w}, desc.outputs = {y};
  if (direction == Direction::backward_data) desc.inputs = {y, w}, desc.outputs = {x};
  if (direction == Direction::backward_weights) desc.inputs = {y, x}, desc.outputs = {w};
  if (direction == Direction::backward) desc.inputs = {y, x, w}, desc.outputs = {x, w};
  if (bias && direction == Direction::forward) desc.inputs.push_back(b);
  if (bias && (direction == Direction::backward_weights || direction == Direction::backward))
    desc.outputs.push_back(b);
  validate(desc);
  return desc;
}

// 64 * 11 * 11 * 64 outputs of 3 * 3 * 32 multiply-adds each.
constexpr double kOutputs = 495616;
constexpr double kProduct = 2 * kOutputs * 288;
// x 64 * 13 * 13 * 32, y 64 * 11 * 11 * 64, w 64 * 3 * 3 * 32 floats.
constexpr double kBytes = 4 * (346112 + 495616 + 18432);

TEST(Cost, ConvolutionOfTheSeed) {
  EXPECT_EQ(kProduct, 285474816);
  for (const auto direction : {Direction::forward, Direction::backward_data, Direction::backward_weights}) {
    const OpCost plain = cost(seed_conv(direction, false, false));
    EXPECT_EQ(plain.flops, kProduct) << to_string(direction);
    EXPECT_EQ(plain.bytes, kBytes) << to_string(direction);
  }
  const OpCost fused = cost(seed_conv(Direction::forward, true, true));
  EXPECT_EQ(fused.flops, kProduct + 2 * kOutputs);
  EXPECT_EQ(fused.bytes, kBytes + 4 * 64);
  EXPECT_EQ(cost(seed_conv(Direction::backward_weights, true, false)).flops, kProduct + kOutputs);
  // Both gradients at once read dy once; x and w are read, their gradients written.
  const OpCost both = cost(seed_conv(Direction::backward, true, false));
  EXPECT_EQ(both.flops, 2 * kProduct + kOutputs);
  EXPECT_EQ(both.bytes, 4 * (2 * 346112 + 495616 + 2 * 18432 + 64));
}

TEST(Cost, GroupsDivideTheWork) {
  // y 5x4x7x6, each from 3 * 2 * 2 taps; bias, statistics 3.
  EXPECT_EQ(cost(conv2d_desc(Direction::forward)).flops, 840 * (2 * 12 + 1 + 3));
}

TEST(Cost, DenseOfTheSeed) {
  DenseAttrs attrs;
  const OpDesc desc{
      {OpKind::dense, Direction::forward}, attrs, {f32({64, 1600}), f32({128, 1600})}, {f32({64, 128})}};
  validate(desc);
  EXPECT_EQ(cost(desc).flops, 2.0 * 64 * 128 * 1600);
  EXPECT_EQ(cost(desc).bytes, 4.0 * (64 * 1600 + 128 * 1600 + 64 * 128));
}

TEST(Cost, AGatheringLayerReadsItsSamplesOnly) {
  // 5 of 100 images of 8x7, an index each, the step; weights and bias; y 5x6x5x6.
  const double bytes = 5 * (56 + 4) + 64 + 4 * (54 + 6 + 900);
  EXPECT_EQ(cost(gathering_conv2d_desc(Direction::forward)).bytes, bytes);
  EXPECT_EQ(cost(gathering_conv2d_desc(Direction::backward_weights)).bytes, bytes);
  EXPECT_EQ(cost(gathering_conv2d_desc(Direction::forward)).flops, 900 * (2 * 9 + 1));
  // A label and an index a sample; logits twice, loss, sums twice.
  EXPECT_EQ(cost(gathering_softmax_xent_desc()).bytes, 5 * (1 + 4) + 64 + 4 * (2 * 50 + 5) + 2 * 32);
}

TEST(Cost, InputBatchMovesItsSamplesOnly) {
  // 8 of 100 images: pixels u8 in, f32 out; a label in and out, an index, the scalars of the step.
  const OpCost plain = cost(input_batch_desc());
  EXPECT_EQ(plain.bytes, 8 * 784 * (1 + 4) + 8 * (1 + 4 + 4) + 64);
  EXPECT_EQ(plain.flops, 8 * 784 * 2);
}

TEST(Cost, OptimizerMovesItsSegmentsOnly) {
  // 76 of 100 elements; gradient and parameter in, parameter out; two states in and out.
  EXPECT_EQ(cost(optimizer_desc(OptimizerKind::sgd)).bytes, 64 + 76 * 4 * 3);
  EXPECT_EQ(cost(optimizer_desc(OptimizerKind::momentum)).bytes, 64 + 76 * 4 * 5);
  EXPECT_EQ(cost(optimizer_desc(OptimizerKind::adamw)).bytes, 64 + 76 * 4 * 7);
  EXPECT_EQ(cost(optimizer_desc(OptimizerKind::sgd)).flops, 76 * 2);
  // Advancing reads one entry of the table and writes the step, however long the table.
  EXPECT_EQ(cost(optimizer_desc(OptimizerKind::adamw, true)).bytes, 3 * 64 + 76 * 4 * 7);
  EXPECT_EQ(cost(ema_desc(true)).bytes, 3 * 64 + 100 * 4 * 3);
}

TEST(Cost, Bf16HalvesTheActivations) {
  OpDesc desc = seed_conv(Direction::forward, false, false);
  desc.precision = Precision::bf16;
  desc.inputs[0].dtype = desc.outputs[0].dtype = DType::bf16;
  validate(desc);
  EXPECT_EQ(cost(desc).bytes, 2 * (346112 + 495616) + 4 * 18432);
}

TEST(Cost, EveryOperationHasOne) {
  for (const OpDesc& desc : all_valid_descs()) {
    EXPECT_GT(cost(desc).flops, 0) << describe(desc);
    EXPECT_GT(cost(desc).bytes, 0) << describe(desc);
  }
}

}  // namespace
}  // namespace quern::testing
