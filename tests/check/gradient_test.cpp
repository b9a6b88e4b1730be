// Mode grad: the reference's gradients are the derivatives of its forwards; wrong gradients are found.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "faulty.hpp"
#include "quern/error.hpp"

namespace quern::check {
namespace {

struct Sample {
  OpKey op;
  const char* cases;
};

const Sample kSamples[] = {
    {{OpKind::conv2d, Direction::backward_data}, "_h7_w6_c8_k8_r3_s1_p1"},
    {{OpKind::conv2d, Direction::backward_weights}, "_g4_bias"},
    {{OpKind::dense, Direction::backward_data}, "n13_c17_k19"},
    {{OpKind::dense, Direction::backward_weights}, "n13_c17_k19"},
    {{OpKind::batchnorm, Direction::backward}, "n3_h5_w6_c4"},
    {{OpKind::relu, Direction::backward}, "/257"},
    {{OpKind::maxpool2d, Direction::backward}, "n3_h5_w6_c4"},
    {{OpKind::avgpool2d, Direction::backward}, "n3_h5_w6_c4"},
    {{OpKind::global_avgpool, Direction::backward}, "n2_h5_w3"},
    {{OpKind::dropout, Direction::backward}, "/1025_p0.3"},
    {{OpKind::softmax_xent, Direction::forward}, "n17_c10"},
};

class Gradients : public ::testing::TestWithParam<Sample> {};

TEST_P(Gradients, OfTheReferenceAreDerivatives) {
  const Sample& sample = GetParam();
  const CheckReport report =
      check_planted(user_implementation(sample.op, right), sample.cases, CheckMode::grad);
  EXPECT_GE(report.results.size(), 1u);
  for (const CheckResult& result : report.results)
    EXPECT_EQ(result.status, CheckStatus::pass) << result.case_name << ": " << result.reason;
  EXPECT_EQ(report.exit_status(), 0);
}

TEST_P(Gradients, WrongByOneElementFail) {
  const Sample& sample = GetParam();
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    const std::size_t last = desc.op.kind == OpKind::softmax_xent ? 1 : 0;
    float* gradient = static_cast<float*>(args.out[last]);
    gradient[desc.outputs[last].elements() / 2] += 0.1f;
  };
  const CheckReport report =
      check_planted(user_implementation(sample.op, body), sample.cases, CheckMode::grad);
  EXPECT_GE(report.results.size(), 1u);
  for (const CheckResult& result : report.results) {
    EXPECT_EQ(result.status, CheckStatus::fail) << result.case_name;
    EXPECT_EQ(result.failure, CheckFailure::gradient) << result.case_name << ": " << result.reason;
  }
  EXPECT_EQ(report.exit_status(), 1);
}

// One per mille too large everywhere.
TEST_P(Gradients, WrongByAFactorFail) {
  const Sample& sample = GetParam();
  const auto body = [](const OpDesc& desc, const RunArgs& args) {
    right(desc, args);
    const std::size_t last = desc.op.kind == OpKind::softmax_xent ? 1 : 0;
    float* gradient = static_cast<float*>(args.out[last]);
    for (std::int64_t i = 0; i < desc.outputs[last].elements(); ++i) gradient[i] *= 1.001f;
  };
  const CheckReport report =
      check_planted(user_implementation(sample.op, body), sample.cases, CheckMode::grad);
  EXPECT_EQ(report.count(CheckStatus::pass), 0u);
}

INSTANTIATE_TEST_SUITE_P(Samples, Gradients, ::testing::ValuesIn(kSamples), [](const auto& test) {
  return fmt::format("{}_{}", to_string(test.param.op.kind), to_string(test.param.op.direction));
});

TEST(GradientMode, RefusesOperationsWithoutAGradient) {
  Registry registry;
  add_reference(registry);
  CheckOptions options;
  options.mode = CheckMode::grad;
  options.op = "conv2d.forward";
  EXPECT_THROW(run_checks(registry, options), Error);
}

}  // namespace
}  // namespace quern::check
