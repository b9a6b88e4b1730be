// Data: exact sums stay exact, derived operands belong together, masks and maxima are not a matter of
// rounding.

#include "check/fill.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "check/checker.hpp"
#include "check/compare.hpp"
#include "check/tolerance.hpp"

namespace quern::check {
namespace {

class Fill : public ::testing::Test {
 protected:
  Fill() { add_reference(registry_); }

  static const Case& find(const std::string& name) {
    for (const Case& c : all_cases())
      if (c.name == name) return c;
    throw std::runtime_error("no case " + name);
  }

  Registry registry_;
  std::unique_ptr<Device> cpu_ = open_device("cpu", 1);
  Oracle oracle_{registry_, *cpu_};
};

TEST_F(Fill, TheSameNameGivesTheSameData) {
  const Case& a = find("conv2d.forward/n2_h28_w28_c1_k32_r3_s1_p1_bias");
  Case renamed = a;
  renamed.name += "x";
  const Operands first = fill_inputs(a, Tier::random, Precision::fp32, oracle_);
  const Operands again = fill_inputs(a, Tier::random, Precision::fp32, oracle_);
  const Operands other = fill_inputs(renamed, Tier::random, Precision::fp32, oracle_);
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(first[i].same_bytes(again[i]));
    EXPECT_FALSE(first[i].same_bytes(other[i]));
  }
}

TEST_F(Fill, ExactSumsFitTheMantissa) {
  for (const Case& c : all_cases()) {
    if (!has_exact_tier(c) || (c.desc.op.kind != OpKind::conv2d && c.desc.op.kind != OpKind::dense)) continue;
    for (const TensorDesc& output : c.desc.outputs) static_cast<void>(output);
    // |operand| <= 3, and a bias of at most 3.
    const double terms = std::max(reduction_length(c.desc, "y"), reduction_length(c.desc, "dbias"));
    EXPECT_LT(9 * terms + 3, 0x1p22) << c.name;
  }
}

TEST_F(Fill, ExactOperandsAreSmallIntegers) {
  const Operands inputs =
      fill_inputs(find("dense.backward_data/n3_c400_k120_mask"), Tier::exact, Precision::fp32, oracle_);
  for (const HostTensor& input : inputs)
    for (const float value : input.as<float>()) {
      EXPECT_EQ(value, std::round(value));
      EXPECT_LE(std::abs(value), 3);
    }
  int zeros = 0;
  for (const float value : inputs[2].as<float>()) {
    EXPECT_GE(value, 0);
    zeros += value == 0 ? 1 : 0;
  }
  EXPECT_GT(zeros, 400);  // of 1200: the mask masks
}

TEST_F(Fill, Bf16ActivationsAreRepresentable) {
  for (const char* name : {"conv2d.backward_data/n1_h14_w14_c32_k64_r3_s1_p1_mask",
                           "batchnorm.backward/n1_h28_w28_c32_relu_pool_r2_s2_p0"}) {
    const Case& c = find(name);
    const OpDesc desc = at_precision(c.desc, Precision::bf16);
    const Operands inputs = fill_inputs(c, Tier::random, Precision::bf16, oracle_);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (desc.inputs[i].dtype != DType::bf16) continue;
      EXPECT_TRUE(converted(converted(inputs[i], DType::bf16), DType::f32).same_bytes(inputs[i]))
          << name << i;
    }
  }
}

TEST_F(Fill, BatchNormBackwardGetsWhatItsForwardKept) {
  const Case& c = find("batchnorm.backward/n1_h28_w28_c32_relu_pool_r2_s2_p0");
  const Operands inputs = fill_inputs(c, Tier::random, Precision::fp32, oracle_);
  const SlotNames names = slot_names(c.desc);
  const auto slot = [&](const char* name) -> const HostTensor& {
    return inputs[static_cast<std::size_t>(names.input(name))];
  };
  const std::span<const float> x = slot("x").as<float>();
  double sum = 0;
  for (std::size_t i = 3; i < x.size(); i += 32) sum += static_cast<double>(x[i]);
  EXPECT_NEAR(slot("saved").value(3), sum / 784, 1e-6);
  for (const float y : slot("y").as<float>()) EXPECT_GE(y, 0);
  for (const std::byte slot_index : slot("argmax").bytes) EXPECT_LT(static_cast<int>(slot_index), 4);
}

// An argmax is compared exactly only where its window has a clear winner: nearly everywhere.
TEST_F(Fill, PooledWindowsHaveClearWinners) {
  for (const Case& c : all_cases()) {
    if (c.desc.op != OpKey{OpKind::batchnorm, Direction::forward} || !c.desc.as<BatchNormAttrs>().pool)
      continue;
    CaseData data(c, Precision::fp32, oracle_);
    const CaseData::Solution& s = data.solution(Tier::random);
    const Solved solved{c.desc, Tier::random, s.inputs, s.expected};
    const auto judged =
        compare_argmax({c.desc, s.inputs[0], s.inputs[1], s.normalised, limits_for(solved, 0, true)},
                       s.expected.back(), s.expected.back());
    EXPECT_FALSE(judged.comparison.deviation) << c.name;
    EXPECT_GE(static_cast<double>(judged.clear), 0.98 * static_cast<double>(s.expected.back().elements()))
        << c.name;
  }
}

// The reference in float storage is its own evidence: every answer of the table is finite, but for the cases
// about NaN.
TEST_F(Fill, ExpectedResultsAreFinite) {
  for (const Case& c : all_cases()) {
    if (c.flavor == Flavor::nan || cost(c.desc).flops > 1e5) continue;
    CaseData data(c, Precision::fp32, oracle_);
    for (const HostTensor& output : data.solution(Tier::random).expected)
      for (std::size_t i = 0; i < static_cast<std::size_t>(output.elements()); ++i)
        ASSERT_TRUE(std::isfinite(output.value(i))) << c.name;
  }
}

}  // namespace
}  // namespace quern::check
