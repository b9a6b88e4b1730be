/// Every call by which a run writes its files fails once, for good, too early, or is the process's last; then
/// the run goes on, and ends with the bytes of a run that nothing happened to.
///
/// The test suite takes every kStride-th call; QUERN_FAULTS=all takes each of them.

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "quern/checkpoint.hpp"
#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

using testing::HasSubstr;

constexpr int kStride = 11;  // shares no factor with how the calls repeat

class FileFaults : public test::Cli {
 protected:
  FileFaults() {
    setenv("OMP_NUM_THREADS", "1", 1);
    whole_ = "whole";
    EXPECT_EQ(quern(run_words(whole_)).status, 0);
  }
  ~FileFaults() override { disarm(); }

  static std::vector<std::string> run_words(const std::string& folder) {
    return {"train",     "--model", "small.json",   "--data", "data",      "--device", "cpu",
            "--threads", "1",       "--validation", "40",     "--run-dir", folder,     "--quiet"};
  }
  void arm(const std::string& kind, int call) const {
    setenv("LD_PRELOAD", QUERN_FILE_FAULTS, 1);
    setenv("QUERN_FAULT_FOLDER", (folder_ / "run").c_str(), 1);
    setenv("QUERN_FAULT_KIND", kind.c_str(), 1);
    setenv("QUERN_FAULT_CALL", std::to_string(call).c_str(), 1);
    setenv("QUERN_FAULT_MARK", (folder_ / "struck").c_str(), 1);
  }
  static void disarm() {
    for (const char* name :
         {"LD_PRELOAD", "QUERN_FAULT_FOLDER", "QUERN_FAULT_KIND", "QUERN_FAULT_CALL", "QUERN_FAULT_MARK"})
      unsetenv(name);
  }
  std::string bytes(const std::string& file) const { return test::read_text(folder_ / file); }
  bool exists(const std::string& file) const { return std::filesystem::exists(folder_ / file); }

  /// Runs with the fault armed; false when the run made fewer calls than that.
  bool strike(const std::string& kind, int call, test::Outcome& outcome) {
    std::filesystem::remove_all(folder_ / "run");
    std::filesystem::remove(folder_ / "struck");
    std::filesystem::create_directory(folder_ / "run");
    arm(kind, call);
    // In an absolute folder, which is what the faults are told.
    outcome = quern(run_words((folder_ / "run").string()));
    disarm();
    return exists("struck");
  }

  /// Whatever is there can be used: checkpoints load, and the run goes on to the same end.
  void expect_recovery() {
    for (const char* name : {"run/last.safetensors", "run/best.safetensors"})
      if (exists(name)) {
        EXPECT_NO_THROW(load_checkpoint(folder_ / name)) << name;
      }
    if (exists("run/last.safetensors")) {
      const test::Outcome outcome = quern({"train", "--resume", "run", "--quiet"});
      ASSERT_EQ(outcome.status, 0) << outcome.err;
    } else {
      // Nothing was saved: the run begins anew, in a new folder.
      std::filesystem::remove_all(folder_ / "run");
      ASSERT_EQ(quern(run_words("run")).status, 0);
    }
    expect_whole();
  }
  void expect_whole() {
    for (const char* name : {"last.safetensors", "best.safetensors"})
      EXPECT_EQ(bytes(fmt::format("run/{}", name)), bytes(whole_ + "/" + name)) << name;
    // Each epoch once, in order.
    std::istringstream rows(bytes("run/metrics.jsonl")), lines(bytes("run/metrics.csv"));
    std::string row, line;
    std::getline(lines, line);
    EXPECT_THAT(line, testing::StartsWith("epoch,"));
    for (int epoch = 1; epoch <= 3; ++epoch) {
      std::getline(rows, row);
      std::getline(lines, line);
      EXPECT_EQ(nlohmann::json::parse(row, nullptr, false).value("epoch", 0), epoch) << row;
      EXPECT_THAT(line, testing::StartsWith(fmt::format("{},", epoch)));
    }
    EXPECT_FALSE(std::getline(rows, row)) << row;
    EXPECT_FALSE(std::getline(lines, line)) << line;
  }

  /// Every call in turn, until the run makes no more; `judge` looks at what the run did.
  template <class Judge>
  void sweep(const std::string& kind, const Judge& judge) {
    const char* all = std::getenv("QUERN_FAULTS");
    const int stride = all != nullptr && std::string_view(all) == "all" ? 1 : kStride;
    int struck = 0;
    for (int call = static_cast<int>(kind.size()) % stride;; call += stride) {
      SCOPED_TRACE(fmt::format("{} at call {}", kind, call));
      test::Outcome outcome;
      if (!strike(kind, call, outcome)) {
        EXPECT_EQ(outcome.status, 0) << outcome.err;
        break;
      }
      ++struck;
      judge(outcome);
      expect_recovery();
      if (HasFailure()) break;
    }
    std::printf("%s: %d faults injected and survived\n", kind.c_str(), struck);
    EXPECT_GE(struck, 60 / stride);
  }

  std::string whole_;
};

std::string one_failure(int error) {
  return fmt::format("once:{}", error);
}

TEST_F(FileFaults, KilledInAnyCall) {
  sweep("kill", [](const test::Outcome& outcome) { EXPECT_EQ(outcome.status, 128 + SIGKILL); });
}

// What fails once is written later; only before the first step, or in the very last call, the run gives up.
void expect_warned_or_failed(const test::Outcome& outcome) {
  EXPECT_TRUE(outcome.status == 0 || outcome.status == 3) << outcome.status << outcome.err;
  if (outcome.status == 3) {
    EXPECT_THAT(outcome.err, testing::StartsWith("quern: "));
  }
}

TEST_F(FileFaults, DiskFullInOneCall) {
  int trained_on = 0;
  sweep(one_failure(ENOSPC), [&](const test::Outcome& outcome) {
    expect_warned_or_failed(outcome);
    if (outcome.status != 0) return;
    trained_on += outcome.err.find("training goes on") != std::string::npos;
    expect_whole();  // without being resumed
  });
  EXPECT_GT(trained_on, 0);
}

TEST_F(FileFaults, InputOutputErrorInOneCall) {
  sweep(one_failure(EIO), expect_warned_or_failed);
}

TEST_F(FileFaults, ShortWrites) {
  sweep("short", [&](const test::Outcome& outcome) {
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    expect_whole();
  });
}

TEST_F(FileFaults, DiskFullFromACallOn) {
  int trained_on = 0;
  sweep(fmt::format("stay:{}", ENOSPC), [&](const test::Outcome& outcome) {
    // Closing the folder after its sync is the run's last call, and nothing can be lost in it.
    EXPECT_TRUE(outcome.status == 3 || outcome.status == 0) << outcome.status;
    if (outcome.status == 3) {
      EXPECT_THAT(outcome.err, HasSubstr("No space left on device"));
    }
    trained_on += outcome.err.find("training goes on") != std::string::npos;
  });
  EXPECT_GT(trained_on, 0);
}

}  // namespace
}  // namespace quern
