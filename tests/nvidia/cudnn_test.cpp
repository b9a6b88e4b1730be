#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "check/case.hpp"
#include "check/descs.hpp"
#include "providers/cudnn/graph_plan.hpp"
#include "quern/check.hpp"
#include "quern/error.hpp"
#include "tests/nvidia/described_h100.hpp"
#include "tests/nvidia/refusals.hpp"

namespace quern::cudnn {
namespace {

using check::at_precision;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kForward = Direction::forward;
constexpr auto kData = Direction::backward_data;
constexpr auto kWeights = Direction::backward_weights;
constexpr auto kBackward = Direction::backward;

Conv2dAttrs conv3x3(bool bias = false, bool relu = false) {
  Conv2dAttrs attrs;
  attrs.window = {3, 3, 1, 1, 1, 1, 1, 1};
  attrs.bias = bias;
  attrs.relu = relu;
  return attrs;
}
OpDesc conv(Direction direction, const Conv2dAttrs& attrs = conv3x3(),
            Precision precision = Precision::fp32) {
  return at_precision(check::conv2d_desc(direction, {2, 14, 12, 8, 16}, attrs), precision);
}

TEST(Layouts, AreNhwcAndKrscByTheirStrides) {
  const TensorLayout x = channels_last({DType::bf16, {2, 14, 12, 8}});
  EXPECT_EQ(x.type, CUDNN_DATA_BFLOAT16);
  EXPECT_THAT(x.extents, ElementsAre(2, 8, 14, 12));
  EXPECT_THAT(x.strides, ElementsAre(14 * 12 * 8, 1, 12 * 8, 8));
  const TensorLayout w = channels_last({DType::f32, {16, 3, 5, 4}});
  EXPECT_THAT(w.extents, ElementsAre(16, 4, 3, 5));
  EXPECT_THAT(w.strides, ElementsAre(3 * 5 * 4, 1, 5 * 4, 4));
  EXPECT_THAT(channels_last({DType::f32, {7, 10}}).extents, ElementsAre(7, 10, 1, 1));
  EXPECT_THAT(channels_last({DType::f32, {7, 10}}).strides, ElementsAre(10, 1, 10, 10));
  EXPECT_THAT(per_channel(16).extents, ElementsAre(1, 16, 1, 1));
  EXPECT_THROW(channels_last({DType::u8, {7, 10}}), Error);
}

TEST(ConvGraph, TakesItsTensorsFromTheSlotsOfEveryDirection) {
  const ConvGraph forward = conv_graph(conv(kForward), DType::f32);
  for (const Direction direction : {kData, kWeights}) {
    const ConvGraph backward = conv_graph(conv(direction), DType::f32);
    EXPECT_EQ(backward.x, forward.x);
    EXPECT_EQ(backward.w, forward.w);
    EXPECT_EQ(backward.y, forward.y);
  }
  EXPECT_THAT(forward.w.extents, ElementsAre(16, 8, 3, 3));
  EXPECT_THAT(forward.bound(), ElementsAre(Operand::x, Operand::w, Operand::y));
  ConvGraph fused = forward;
  fused.bias = true;
  EXPECT_THAT(fused.bound(), ElementsAre(Operand::x, Operand::w, Operand::y, Operand::bias));
}

TEST(EngineRules, ExcludeByNumericalNotes) {
  const auto ask = [](const EngineRules& rules, std::vector<cudnnBackendNumericalNote_t> notes) {
    return excluded(rules, notes).value_or("taken");
  };
  constexpr auto kTensorCore = CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
  constexpr auto kUnordered = CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
  EXPECT_EQ(ask({}, {}), "taken");
  EXPECT_EQ(ask({}, {CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP}), "taken");
  EXPECT_THAT(ask({}, {kUnordered}), HasSubstr("not deterministic"));
  EXPECT_EQ(ask({.nondeterministic = true}, {kUnordered}), "taken");
  EXPECT_THAT(ask({}, {kTensorCore}), HasSubstr("tf32"));
  EXPECT_EQ(ask({.tensor_cores = true}, {kTensorCore}), "taken");
  EXPECT_THAT(ask({.tensor_cores = true}, {kTensorCore, kUnordered}), HasSubstr("not deterministic"));
  for (const bool tensor_cores : {false, true}) {
    const EngineRules rules{.tensor_cores = tensor_cores};
    EXPECT_THAT(ask(rules, {CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS}), HasSubstr("half precision"));
    EXPECT_THAT(ask(rules, {CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION}), HasSubstr("reduced"));
    EXPECT_THAT(ask(rules, {CUDNN_NUMERICAL_NOTE_WINOGRAD}), HasSubstr("transforms"));
    EXPECT_THAT(ask(rules, {CUDNN_NUMERICAL_NOTE_FFT}), HasSubstr("transforms"));
  }
}

class CudnnRefusals : public ::testing::Test {
 protected:
  CudnnRefusals() { add_cudnn(registry_); }
  std::string ask(const OpDesc& desc, int sm = 90) const { return test::answer(registry_, desc, sm); }
  Registry registry_;
};

TEST_F(CudnnRefusals, OfConvolutions) {
  for (const Direction direction : {kForward, kData, kWeights})
    for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16})
      EXPECT_EQ(ask(conv(direction, conv3x3(direction != kData), precision)), "serves");
  Conv2dAttrs stats = conv3x3(), mask = conv3x3();
  stats.stats = mask.mask = true;
  EXPECT_THAT(ask(conv(kForward, stats)), HasSubstr("needs stats off"));
  EXPECT_EQ(ask(conv(kData, mask)), "serves");
  EXPECT_THAT(ask(conv(kForward, conv3x3(), Precision::tf32), 75),
              HasSubstr("needs sm_80 or later for tf32"));
  EXPECT_THAT(ask(conv(kForward, conv3x3(), Precision::bf16), 75),
              HasSubstr("needs sm_80 or later for bf16"));
  OpDesc mixed = conv(kForward, conv3x3(), Precision::bf16);
  mixed.outputs[0].dtype = DType::f32;
  EXPECT_THAT(ask(mixed), HasSubstr("needs activations in bf16, got f32"));
}

TEST_F(CudnnRefusals, OfNormalisations) {
  BatchNormAttrs attrs;
  attrs.relu = attrs.stats = attrs.mask = true;
  for (const Direction direction : {kForward, Direction::inference, kBackward}) {
    EXPECT_EQ(ask(check::batchnorm_desc(direction, {2, 5, 6, 8}, attrs)), "serves");
    EXPECT_EQ(ask(check::batchnorm_desc(direction, {5, 8}, attrs)), "serves");
    BatchNormAttrs pool = attrs;
    pool.pool = true;
    pool.window = {2, 2, 2, 2};
    EXPECT_THAT(ask(check::batchnorm_desc(direction, {2, 4, 6, 8}, pool)), HasSubstr("needs pool off"));
  }
  EXPECT_THAT(ask(check::batchnorm_desc(kForward, {1, 8}, attrs)), HasSubstr("at least two rows"));
}

TEST_F(CudnnRefusals, OfPoolings) {
  Pool2dAttrs attrs;
  attrs.window = {2, 2, 2, 2};
  EXPECT_EQ(ask(check::pool2d_desc(OpKind::maxpool2d, kForward, {2, 4, 6, 8}, attrs)), "serves");
  EXPECT_EQ(ask(check::pool2d_desc(OpKind::avgpool2d, kBackward, {2, 4, 6, 8}, attrs)), "serves");
  Pool2dAttrs argmax = attrs;
  argmax.save_argmax = true;
  EXPECT_THAT(ask(check::pool2d_desc(OpKind::maxpool2d, kForward, {2, 4, 6, 8}, argmax)),
              HasSubstr("needs save_argmax off"));
  EXPECT_THAT(ask(check::pool2d_desc(OpKind::maxpool2d, kBackward, {2, 4, 6, 8}, attrs)),
              HasSubstr("finds the maxima again"));
  // 4 rows under windows of 3: padding at the end alone makes a window more than padding at both ends.
  Pool2dAttrs end = attrs;
  end.window = {3, 3, 1, 1, 0, 0, 1, 1};
  EXPECT_THAT(ask(check::pool2d_desc(OpKind::avgpool2d, kForward, {2, 4, 4, 8}, end)),
              HasSubstr("needs the same padding at both ends"));
  // Stride 2: a row of padding that no window reaches makes no difference.
  end.window = {2, 2, 2, 2, 0, 0, 1, 1};
  EXPECT_EQ(ask(check::pool2d_desc(OpKind::avgpool2d, kForward, {2, 4, 4, 8}, end)), "serves");
  EXPECT_EQ(ask(check::global_avgpool_desc(kBackward, {2, 4, 6, 8}, {.mask = true})), "serves");
}

TEST_F(CudnnRefusals, OfWhatHasNoCounterpart) {
  EXPECT_THAT(ask(check::softmax_xent_desc(5, 10, {})), HasSubstr("neither the loss nor its gradient"));
  EXPECT_EQ(ask(check::relu_desc(kForward, {5, 12})), "serves");
  EXPECT_EQ(ask(check::relu_desc(kBackward, {5, 12})), "serves");
}

TEST_F(CudnnRefusals, FillTheSupportTableOfAnAbsentGpu) {
  CheckOptions options;
  options.mode = CheckMode::support;
  options.assumed = test::described_gpu(90);
  options.required = std::vector<Provider>();
  options.op = "conv2d.forward";
  const CheckReport report = run_checks(registry_, options);
  EXPECT_EQ(report.exit_status(), 0);
  ASSERT_EQ(report.support.size(), 1u);
  EXPECT_EQ(report.support[0].implementation, "cudnn:graph");
  EXPECT_GT(report.support[0].served, 100u);
  EXPECT_GT(report.support[0].refused, 10u);
  for (const auto& [reason, cases] : report.support[0].reasons)
    EXPECT_THAT(reason, testing::AnyOf(HasSubstr("needs "), HasSubstr("merged")));
  options.mode = CheckMode::test;
  EXPECT_THROW(run_checks(registry_, options), Error);
}

/// Plans for a GPU that is only described: cuDNN itself, without a device.
class DescribedGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const Refusal missing = library_refusal()) GTEST_SKIP() << *missing;
    if (library().cudnnGetVersion() < 90800) GTEST_SKIP() << "cuDNN before 9.8 knows no described devices";
    target_ = described_target(test::kDescribedH100);
  }
  /// The engine's index, or why there is none.
  std::string plan(const ConvGraph& graph, const EngineRules& rules) {
    std::string failure;
    const auto made = GraphPlan::build(target_, graph, rules, failure);
    if (!made) return failure;
    EXPECT_GE(made->engine(), 0);
    return "planned";
  }
  Target target_;
};

TEST_F(DescribedGpu, ConvolutionsOfEveryKindHaveADeterministicEngine) {
  std::vector<const check::Case*> cases;
  for (const check::Case& c : check::all_cases())
    if (c.desc.op.kind == OpKind::conv2d && c.desc.op.direction != Direction::backward &&
        !is_merged(c.desc) && check::hash_name(c.name) % 11 == 0)
      cases.push_back(&c);
  ASSERT_GT(cases.size(), 20u);
  for (const check::Case* c : cases)
    for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
      const OpDesc desc = at_precision(c->desc, precision);
      const EngineRules rules{.tensor_cores = precision != Precision::fp32};
      EXPECT_EQ(plan(conv_graph(desc, desc.inputs[0].dtype), rules), "planned")
          << c->name << " " << to_string(precision);
    }
}

TEST_F(DescribedGpu, BiasAndReluAreFused) {
  for (const bool tensor_cores : {false, true}) {
    ConvGraph graph = conv_graph(conv(kForward), DType::f32);
    graph.bias = true;
    EXPECT_EQ(plan(graph, {.tensor_cores = tensor_cores}), "planned");
    graph.relu = true;
    EXPECT_EQ(plan(graph, {.tensor_cores = tensor_cores}), "planned");
  }
}

TEST_F(DescribedGpu, SaysWhyNoEngineIsTaken) {
  // Nothing transforms the operands of channels-last convolutions.
  EXPECT_THAT(plan(conv_graph(conv(kForward), DType::f32), {.transforms = true}),
              testing::AllOf(HasSubstr("cuDNN has no engine for it"), HasSubstr("transforms nothing")));
  ConvGraph wrong = conv_graph(conv(kForward), DType::f32);
  wrong.y.extents[2] += 1;
  EXPECT_THROW(plan(wrong, {}), Error);
}

}  // namespace
}  // namespace quern::cudnn
