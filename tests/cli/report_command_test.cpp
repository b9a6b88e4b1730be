#include <fmt/format.h>

#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

using testing::HasSubstr;
using testing::Not;
using Report = test::Cli;

TEST_F(Report, EveryRunLeavesOne) {
  const nlohmann::json trained = train_json({"--run-dir", "runs/a", "--validation", "40"});
  const std::string html = test::read_text(folder_ / "runs/a/report.html");
  const double accuracy = trained["test_accuracy"].get<double>();
  EXPECT_THAT(html, HasSubstr(fmt::format("{:.2f} %", accuracy * 100)));
  for (const char* part : {"south-west", "Confusion", "First-layer filters", "--validation 40"})
    EXPECT_THAT(html, HasSubstr(part));
  const nlohmann::json test = nlohmann::json::parse(test::read_text(folder_ / "runs/a/test.json"));
  EXPECT_EQ(test["accuracy"], trained["test_accuracy"]);
  int events = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "runs/a"))
    events += entry.path().filename().string().starts_with("events.out.tfevents.");
  EXPECT_EQ(events, 1);
  EXPECT_GT(std::filesystem::file_size(folder_ / "runs/a/progress.jsonl"), 0u);

  // Written anew, it is the same.
  ASSERT_EQ(quern({"report", "runs/a", "-o", "again.html"}).status, 0);
  EXPECT_EQ(test::read_text(folder_ / "again.html"), html);
}

TEST_F(Report, ComparesRuns) {
  train_json({"--run-dir", "runs/a"});
  train_json({"--run-dir", "runs/b", "--lr", "0.02"});
  const test::Outcome outcome = quern({"report", "runs/a", "runs/b"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("compare.html"));
  const std::string html = test::read_text(folder_ / "compare.html");
  for (const char* part : {"2 runs compared", ">0.02<", ">0.01<", "Recall by class"})
    EXPECT_THAT(html, HasSubstr(part));
}

TEST_F(Report, NoSaveLeavesNothing) {
  train_json({"--no-save"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
}

TEST_F(Report, RefusesWhatIsNoRun) {
  expect_bad_usage({"report", "data"}, {"data", "no run"});
  expect_bad_usage({"report"}, {"quern train"});
}

}  // namespace
}  // namespace quern
