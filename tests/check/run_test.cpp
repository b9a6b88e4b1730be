// Choosing what to run: filters, shards, gaps, modes perf and support.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "faulty.hpp"
#include "quern/error.hpp"

namespace quern::check {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Running : public ::testing::Test {
 protected:
  Running() { add_reference(registry_); }

  std::string input_error(const CheckOptions& options) const {
    try {
      run_checks(registry_, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      return error.what();
    }
    return "no error";
  }

  Registry registry_;
};

TEST_F(Running, UnknownNamesAreInputErrorsWithTheNearest) {
  EXPECT_THAT(input_error({.op = "conv2"}), HasSubstr("did you mean 'conv2d'?"));
  EXPECT_THAT(input_error({.op = "conv2d.foward"}), HasSubstr("did you mean 'conv2d.forward'?"));
  EXPECT_THAT(input_error({.implementation = "referense"}), HasSubstr("did you mean 'reference'?"));
  EXPECT_THAT(input_error({.implementation = "reference:naiv"}),
              HasSubstr("did you mean 'reference:naive'?"));
  EXPECT_THAT(input_error({.device = "gpu"}), HasSubstr("unknown device 'gpu'"));
  EXPECT_THAT(input_error({.case_filter = "no such case"}), HasSubstr("quern check --list"));
}

TEST_F(Running, AnImplementationOfAnotherDeviceIsAnInputError) {
  Implementation planted = user_implementation({OpKind::relu, Direction::forward}, right);
  planted.device = DeviceKind::cuda;
  registry_.add(planted);
  EXPECT_THAT(input_error({.implementation = "user"}), AllOf(HasSubstr("cpu"), HasSubstr("only on cuda")));
}

TEST_F(Running, RacesNeedTheEmulator) {
  EXPECT_THAT(input_error({.races = true}), HasSubstr("--device emu"));
}

TEST_F(Running, ShardsPartitionTheTable) {
  const std::vector<std::string> all = list_checks({.op = "dense"});
  std::multiset<std::string> joined;
  for (int i = 0; i < 3; ++i)
    for (const std::string& name : list_checks({.op = "dense", .shard_index = i, .shard_count = 3}))
      joined.insert(name);
  EXPECT_EQ(joined, std::multiset<std::string>(all.begin(), all.end()));
  EXPECT_THAT(input_error({.shard_index = 3, .shard_count = 3}), HasSubstr("shard 3/3"));
  EXPECT_THAT(input_error({.shard_index = 0, .shard_count = 0}), HasSubstr("shard 0/0"));
}

TEST_F(Running, AWholeNameSelectsThatCaseAlone) {
  EXPECT_GT(list_checks({.case_filter = "conv2d.forward/n2_h28_w28_c1_k32"}).size(), 1u);
  const std::string whole = "conv2d.forward/n2_h28_w28_c1_k32_r3_s1_p1";
  EXPECT_EQ(list_checks({.case_filter = whole}), std::vector<std::string>{whole});
}

TEST_F(Running, FailFastStopsAtTheFirstFailure) {
  registry_.add(
      user_implementation({OpKind::relu, Direction::forward}, [](const OpDesc&, const RunArgs&) {}));
  CheckOptions options{.op = "relu.forward", .implementation = "user"};
  EXPECT_GT(run_checks(registry_, options).results.size(), 10u);
  options.fail_fast = true;
  EXPECT_EQ(run_checks(registry_, options).results.size(), 1u);
}

TEST_F(Running, AProviderThatLacksAnOperationIsListedAndFailsWhereItIsRequired) {
  registry_.add(user_implementation({OpKind::relu, Direction::forward}, right));
  CheckOptions options{.op = "relu", .case_filter = "/257", .required = std::vector<Provider>{}};
  CheckReport report = run_checks(registry_, options);
  ASSERT_EQ(report.gaps.size(), 1u);
  EXPECT_EQ(to_string(report.gaps[0].op), "relu.backward");
  EXPECT_FALSE(report.gaps[0].required);
  EXPECT_EQ(report.exit_status(), 0);
  EXPECT_THAT(format_report(report), HasSubstr("user: none on cpu, relu.backward"));

  options.required = std::vector<Provider>{Provider::user};
  report = run_checks(registry_, options);
  EXPECT_EQ(report.exit_status(), 1);
  EXPECT_THAT(format_report(report), AllOf(HasSubstr("MISSING"), HasSubstr("FAIL: 2 cases")));

  // A provider that is required and has nothing at all is missing everywhere.
  options.required = std::vector<Provider>{Provider::cudnn};
  EXPECT_EQ(run_checks(registry_, options).gaps.size(), 3u);
  // A filter by implementation asks only for that provider.
  options.implementation = "reference";
  EXPECT_EQ(run_checks(registry_, options).exit_status(), 0);
}

TEST_F(Running, PerfTimesOnlyWhatItVerified) {
  registry_.add(
      user_implementation({OpKind::relu, Direction::forward}, [](const OpDesc& desc, const RunArgs& args) {
        right(desc, args);
        static_cast<float*>(args.out[0])[0] = -1;
      }));
  CheckOptions options{.op = "relu.forward",
                       .case_filter = "/257",
                       .mode = CheckMode::perf,
                       .repeats = 3,
                       .required = std::vector<Provider>{}};
  const CheckReport report = run_checks(registry_, options);
  ASSERT_EQ(report.results.size(), 2u);
  for (const CheckResult& result : report.results) {
    EXPECT_EQ(result.timing.has_value(), result.status == CheckStatus::pass);
    if (!result.timing) continue;
    EXPECT_GT(result.timing->seconds, 0);
    EXPECT_NEAR(result.timing->gflops * result.timing->seconds, 257e-9, 1e-15);
    EXPECT_NEAR(result.timing->gigabytes * result.timing->seconds, 2 * 4 * 257e-9, 1e-15);
    EXPECT_EQ(result.timing->repeats, 3);
  }
  EXPECT_THAT(format_report(report), HasSubstr("not timed: wrong"));
}

TEST_F(Running, SupportCountsRefusalsByReasonAndRunsNothing) {
  Implementation planted =
      user_implementation({OpKind::conv2d, Direction::forward},
                          [](const OpDesc&, const RunArgs&) { FAIL() << "mode support runs nothing"; });
  planted.refusal = [](const OpDesc& desc, const DeviceInfo&) -> Refusal {
    if (desc.as<Conv2dAttrs>().groups != 1) return "needs groups = 1";
    if (desc.precision != Precision::fp32) return "needs fp32";
    return std::nullopt;
  };
  registry_.add(planted);
  CheckOptions options{.op = "conv2d.forward",
                       .implementation = "user",
                       .mode = CheckMode::support,
                       .required = std::vector<Provider>{}};
  CheckReport report = run_checks(registry_, options);
  ASSERT_EQ(report.support.size(), 1u);
  EXPECT_TRUE(report.results.empty());
  EXPECT_GT(report.support[0].served, report.support[0].refused);
  // Its own reason, and that of everyone who was not told about merged nodes.
  ASSERT_EQ(report.support[0].reasons.size(), 2u);
  std::size_t refused = 0;
  for (const auto& [reason, cases] : report.support[0].reasons) refused += cases;
  EXPECT_EQ(refused, report.support[0].refused);
  EXPECT_GT(report.support[0].reasons.at("needs groups = 1"), 0u);
  EXPECT_EQ(report.exit_status(), 0);

  options.precision = Precision::bf16;
  report = run_checks(registry_, options);
  EXPECT_EQ(report.support[0].served, 0u);
  EXPECT_EQ(report.exit_status(), 1);
}

// bf16 results differ from the fp32 oracle by their storage; the tolerance knows.
TEST_F(Running, LowerPrecisionsAreHeldToTheirOwnTolerance) {
  for (const Precision precision : {Precision::tf32, Precision::bf16})
    for (const char* op : {"conv2d", "batchnorm", "maxpool2d", "dropout", "softmax_xent"}) {
      CheckOptions options{
          .op = op, .precision = precision, .shard_count = 9, .required = std::vector<Provider>{}};
      const CheckReport report = run_checks(registry_, options);
      EXPECT_EQ(report.exit_status(), 0) << to_string(precision) << '\n' << format_report(report);
    }
}

}  // namespace
}  // namespace quern::check
