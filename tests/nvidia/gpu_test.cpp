// cuDNN and cuBLAS on a GPU: the conformance table. Skipped where there is no GPU.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/factories.hpp"
#include "quern/check.hpp"

namespace quern {
namespace {

class OnGpu : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU here";
  }
  static void hold(const char* provider) {
    CheckOptions options;
    options.device = "cuda";
    options.implementation = provider;
    options.precision = GetParam();
    options.required = std::vector<Provider>();
    options.shard_count = 4;  // a quarter of the table; `quern check` runs it all
    const CheckReport report = run_checks(Registry::with_all_providers(), options);
    EXPECT_EQ(report.count(CheckStatus::fail), 0u) << format_report(report);
    EXPECT_GT(report.count(CheckStatus::pass), 0u) << format_report(report);
  }
};

TEST_P(OnGpu, CudnnHoldsAgainstTheReference) {
  hold("cudnn");
}

TEST_P(OnGpu, CublasHoldsAgainstTheReference) {
  hold("cublas");
}

INSTANTIATE_TEST_SUITE_P(Precisions, OnGpu,
                         ::testing::Values(Precision::fp32, Precision::tf32, Precision::bf16),
                         [](const auto& precision) { return to_string(precision.param); });

}  // namespace
}  // namespace quern
