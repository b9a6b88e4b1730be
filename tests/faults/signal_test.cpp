/// Signals at random moments of a run. Whatever came and when, the run that is resumed until it ends leaves
/// the bytes of one that was left alone.
///
/// QUERN_SIGNALS=N sends N signals of each kind.

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "quern/checkpoint.hpp"
#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

class Signals : public test::Cli, public testing::WithParamInterface<int> {
 protected:
  static std::vector<std::string> words(const std::string& folder) {
    return {"train", "--model",   "small.json", "--data",   "data",        "--device",
            "cpu",   "--threads", "1",          "--epochs", "40",          "--validation",
            "40",    "--run-dir", folder,       "--quiet",  "--optimizer", "nesterov"};
  }
  std::string bytes(const std::string& file) const { return test::read_text(folder_ / file); }
};

TEST_P(Signals, AtRandomMomentsLoseNothing) {
  const int number = GetParam();
  const char* wanted = std::getenv("QUERN_SIGNALS");
  const int signals = wanted != nullptr ? std::atoi(wanted) : 8;
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(quern(words("whole")).status, 0);
  const auto whole = std::chrono::steady_clock::now() - start;

  // The moments are random in any case; the generator only spreads them.
  std::mt19937 random(static_cast<unsigned>(number));
  int sent = 0, resumed = 0, finished = 0;
  while (sent < signals) {
    const std::filesystem::path last = folder_ / "run/last.safetensors";
    const bool resume = std::filesystem::exists(last);
    if (!resume) std::filesystem::remove_all(folder_ / "run");
    resumed += resume;
    test::Process process(
        resume ? std::vector<std::string>{"train", "--resume", "run", "--quiet"} : words("run"),
        folder_.path());
    // Up to half of a whole run's time, so that it takes several signals to its end.
    std::this_thread::sleep_for(whole * (random() % 1000) / 2000);
    if (process.running()) {
      process.signal(number);
      ++sent;
    }
    const test::Outcome outcome = process.wait();
    if (std::filesystem::exists(last)) {
      EXPECT_NO_THROW(load_checkpoint(last));
    }
    if (outcome.status == 0) {
      ++finished;
      EXPECT_EQ(bytes("run/last.safetensors"), bytes("whole/last.safetensors"));
      EXPECT_EQ(bytes("run/best.safetensors"), bytes("whole/best.safetensors"));
      std::filesystem::remove_all(folder_ / "run");
    } else {
      ASSERT_EQ(outcome.status, 128 + number) << outcome.err;
    }
  }
  if (std::filesystem::exists(folder_ / "run/last.safetensors")) {
    ASSERT_EQ(quern({"train", "--resume", "run", "--quiet"}).status, 0);
    EXPECT_EQ(bytes("run/last.safetensors"), bytes("whole/last.safetensors"));
    EXPECT_EQ(bytes("run/best.safetensors"), bytes("whole/best.safetensors"));
    ++finished;
  }
  std::printf("signal %d: %d sent, %d times resumed, %d runs finished with the same bytes\n", number, sent,
              resumed, finished);
}
INSTANTIATE_TEST_SUITE_P(Kind, Signals, testing::Values(SIGINT, SIGTERM, SIGKILL));

}  // namespace
}  // namespace quern
