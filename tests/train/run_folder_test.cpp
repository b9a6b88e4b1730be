#include "train/run_folder.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "quern/error.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using test::TemporaryFolder;

std::vector<std::string> lines(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> found;
  for (std::string line; std::getline(file, line);) found.push_back(line);
  return found;
}

EpochResult epoch(std::int64_t number) {
  EpochResult result;
  result.epoch = number;
  result.step = number * 10;
  result.train_loss = 0.5;
  return result;
}

TEST(RunFolder, NamesAreUnique) {
  const TemporaryFolder parent;
  const RunFolder a = RunFolder::create(parent / "runs", "tiny"),
                  b = RunFolder::create(parent / "runs", "tiny");
  EXPECT_NE(a.path(), b.path());
  EXPECT_NE(a.path().string().find("-tiny"), std::string::npos);
}

TEST(RunFolder, WritesOneRowAnEpoch) {
  const TemporaryFolder parent;
  const RunFolder folder = RunFolder::create_at(parent / "run");
  folder.append(epoch(1));
  EpochResult second = epoch(2);
  second.validation_loss = 0.25;
  second.validation_accuracy = 0.75;
  folder.append(second);
  const auto csv = lines(folder.path() / "metrics.csv"), json = lines(folder.path() / "metrics.jsonl");
  ASSERT_EQ(csv.size(), 3u);
  EXPECT_EQ(csv[0].substr(0, 11), "epoch,step,");
  EXPECT_EQ(csv[2].substr(0, 21), "2,20,0.5,0,0.25,0.75,");
  ASSERT_EQ(json.size(), 2u);
  EXPECT_FALSE(nlohmann::json::parse(json[0]).contains("validation_loss"));
  EXPECT_EQ(nlohmann::json::parse(json[1])["validation_accuracy"], 0.75);
}

TEST(RunFolder, ReopeningDropsLaterAndHalfWrittenRows) {
  const TemporaryFolder parent;
  RunFolder folder = RunFolder::create_at(parent / "run");
  for (std::int64_t i = 1; i <= 3; ++i) folder.append(epoch(i));
  std::ofstream(folder.path() / "metrics.jsonl", std::ios::app) << R"({"epoch": 1, "st)";
  std::ofstream(folder.path() / "metrics.csv", std::ios::app) << "1";
  folder = RunFolder::reopen(folder.path(), 2);
  EXPECT_EQ(lines(folder.path() / "metrics.jsonl").size(), 2u);
  EXPECT_EQ(lines(folder.path() / "metrics.csv").size(), 3u);
  folder.append(epoch(3));
  EXPECT_EQ(lines(folder.path() / "metrics.csv").back().substr(0, 2), "3,");
}

TEST(RunFolder, DoesNotTakeAFolderThatHoldsARun) {
  const TemporaryFolder parent;
  const RunFolder folder = RunFolder::create_at(parent / "run");
  EXPECT_FALSE(RunFolder::is_run(folder.path()));
  folder.write_config({{"a", 1}});
  EXPECT_TRUE(RunFolder::is_run(folder.path()));
  EXPECT_THROW(RunFolder::create_at(parent / "run"), Error);
}

TEST(RunFolder, NewestIsTheOneSavedLast) {
  const TemporaryFolder parent;
  EXPECT_THROW(RunFolder::newest(parent / "runs"), Error);
  for (const char* name : {"b", "a"}) {
    std::filesystem::create_directories(parent / "runs" / name);
    std::ofstream(parent / "runs" / name / "last.safetensors") << name;
  }
  std::filesystem::create_directories(parent / "runs" / "z-without-checkpoint");
  std::filesystem::last_write_time(
      parent / "runs" / "b" / "last.safetensors",
      std::filesystem::last_write_time(parent / "runs" / "a" / "last.safetensors") - std::chrono::seconds(5));
  EXPECT_EQ(RunFolder::newest(parent / "runs"), parent / "runs" / "a");
}

TEST(RunFolder, PlanNamesWhoRunsWhat) {
  const Split data = test::small_images(32);
  test::SmallRun run(test::small_model(R"({"batch_size": 16})"), data);
  const nlohmann::json json = to_json(run.trainer.plan());
  EXPECT_EQ(json["device_kind"], "cpu");
  EXPECT_GT(json["arena_bytes"].get<std::size_t>(), 0u);
  bool found = false;
  for (const auto& node : json["nodes"])
    found |= node["name"] == "optimizer.forward" && node.contains("implementation") && node["bytes"] > 0;
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace quern
