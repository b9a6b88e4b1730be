// Reports: what people and machines are told.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "faulty.hpp"

namespace quern::check {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

CheckReport failing_report() {
  return check_planted(user_implementation({OpKind::relu, Direction::forward},
                                           [](const OpDesc& desc, const RunArgs& args) {
                                             right(desc, args);
                                             static_cast<float*>(args.out[0])[2] = 9;
                                           }),
                       "relu.forward/257");
}

TEST(Report, TellsWhatFailedWhereAndHowToRepeatIt) {
  const std::string text = format_report(failing_report());
  EXPECT_THAT(text, HasSubstr("FAIL relu.forward/257  user:planted"));
  EXPECT_THAT(text, HasSubstr("mismatch: y[2]: got 9, expected "));
  EXPECT_THAT(text, HasSubstr("1 of 257 elements are wrong (exact tier)"));
  EXPECT_THAT(text,
              HasSubstr("repeat: quern check --device cpu --impl user:planted --case relu.forward/257\n"));
  EXPECT_THAT(text, HasSubstr("FAIL: 1 cases on "));
  EXPECT_THAT(text, EndsWith("0 passed, 1 failed, 0 unsupported, 0 not run; nothing was verified\n"));
}

TEST(Report, LimitsTheListOfFailuresAndCountsThemAll) {
  const CheckReport report = check_planted(
      user_implementation({OpKind::relu, Direction::forward}, [](const OpDesc&, const RunArgs&) {}), "");
  const std::string text = format_report(report);
  EXPECT_THAT(text, HasSubstr("and 32 more failures of user:planted in relu.forward"));
}

TEST(Report, NamesRefusals) {
  Implementation planted = user_implementation({OpKind::relu, Direction::forward}, right);
  planted.refusal = [](const OpDesc& d, const DeviceInfo&) {
    return d.inputs[0].elements() < 4 ? Refusal("too small") : Refusal();
  };
  EXPECT_THAT(format_report(check_planted(planted, "relu.forward")),
              HasSubstr("relu.forward user:planted: too small (4 cases)"));
}

TEST(Report, JsonHoldsEveryResult) {
  const auto json = nlohmann::json::parse(report_json(failing_report()));
  EXPECT_EQ(json.at("verdict"), "FAIL");
  EXPECT_EQ(json.at("mode"), "test");
  EXPECT_EQ(json.at("device_kind"), "cpu");
  EXPECT_EQ(json.at("cases"), 1);
  EXPECT_EQ(json.at("failed"), 1);
  const auto& result = json.at("results").at(0);
  EXPECT_EQ(result.at("case"), "relu.forward/257");
  EXPECT_EQ(result.at("status"), "FAIL");
  EXPECT_EQ(result.at("failure"), "mismatch");
  EXPECT_EQ(result.at("mismatch").at("slot"), "y");
  EXPECT_EQ(result.at("mismatch").at("got"), 9);
}

TEST(Report, JsonWritesNonFiniteNumbersAsText) {
  CheckReport report = failing_report();
  report.results[0].mismatch->got = std::numeric_limits<double>::quiet_NaN();
  report.results[0].worst = std::numeric_limits<double>::infinity();
  const auto json = nlohmann::json::parse(report_json(report));
  EXPECT_EQ(json.at("results").at(0).at("mismatch").at("got"), "nan");
  EXPECT_EQ(json.at("results").at(0).at("worst"), "inf");
}

}  // namespace
}  // namespace quern::check
