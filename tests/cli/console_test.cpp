#include "cli/console.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>

#include "cli/progress.hpp"

namespace quern::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Console, TableAlignsItsColumns) {
  EXPECT_EQ(format_table({"name", ">count", "note"}, {{"a", "5", "x"}, {"longer", "1234"}}),
            "name    count  note\n"
            "a           5  x\n"
            "longer   1234\n");
}

TEST(Console, TableCountsCharactersNotBytes) {
  EXPECT_EQ(format_table({"n", "m"}, {{"\u00e9\u00e9", "x"}, {"ab", "y"}}),
            "n   m\n\u00e9\u00e9  x\nab  y\n");
}

TEST(Console, TheStartIsTheLaunchersWhereThatCameLater) {
  const auto with = [](const std::string& launched) {
    setenv("QUERN_LAUNCHED", launched.c_str(), 1);
    const double seconds = seconds_since_start();
    unsetenv("QUERN_LAUNCHED");
    return seconds;
  };
  double own = seconds_since_start();
  for (const char* ignored : {"", "words", "-1", "0.01", "1e15"}) {  // 0.01: before this process
    const double seconds = with(ignored);
    EXPECT_GE(seconds, own) << ignored;
    own = seconds;
  }
  while (seconds_since_start() < 0.1) usleep(10'000);
  std::string uptime;
  ASSERT_TRUE(std::ifstream("/proc/uptime") >> uptime);
  const double since_launch = with(uptime);
  EXPECT_GE(since_launch, 0);
  EXPECT_LE(since_launch, seconds_since_start() - 0.05);  // however long those calls took
}

TEST(Progress, DurationsReadWell) {
  EXPECT_EQ(format_duration(0.2), "1 s");
  EXPECT_EQ(format_duration(59), "59 s");
  EXPECT_EQ(format_duration(185), "3:05");
  EXPECT_EQ(format_duration(7384), "2:03:04");
  EXPECT_EQ(format_duration(-1), "0 s");
}

TEST(Progress, EpochLineHasValidationOnlyWhereThereWasOne) {
  EpochResult result;
  result.epoch = 2;
  result.train_loss = 0.5;
  result.train_accuracy = 0.875;
  EXPECT_THAT(format_epoch(result, 5), HasSubstr("epoch 2/5  loss 0.5000  accuracy 87.50 %"));
  EXPECT_THAT(format_epoch(result, 5), Not(HasSubstr("validation")));
  result.validation_loss = 0.25;
  result.validation_accuracy = 0.5;
  result.best = true;
  EXPECT_THAT(format_epoch(result, 5), HasSubstr("validation loss 0.2500  accuracy 50.00 % (best)"));
}

/// Both ends of a terminal 40 columns wide.
class Terminal : public testing::Test {
 protected:
  Terminal() {
    winsize size{};
    size.ws_row = 24;
    size.ws_col = 40;
    if (openpty(&master_, &slave_, nullptr, nullptr, &size) != 0) throw std::runtime_error("no terminal");
    stream_ = fdopen(slave_, "w");
  }
  ~Terminal() override {
    fclose(stream_);
    close(master_);
  }
  /// What arrived since the last call. A terminal hands on what was written in its own time: a mark tells the
  /// end.
  std::string seen() const {
    std::fputc('~', stream_);
    std::fflush(stream_);
    std::string text;
    for (char character = 0; read(master_, &character, 1) == 1 && character != '~';)
      text.push_back(character);
    return text;
  }
  int master_ = -1, slave_ = -1;
  std::FILE* stream_ = nullptr;
};

TEST_F(Terminal, LiveLineIsRedrawnCutToTheWidthAndCleared) {
  ProgressPrinter printer(stream_, /*quiet=*/false);
  TrainProgress progress;
  progress.epoch = 1;
  progress.epochs = 5;
  progress.steps_per_epoch = 938;
  printer.update(progress);
  const std::string drawn = seen();
  EXPECT_TRUE(drawn.starts_with("\repoch 1/5  step 0/938")) << drawn;
  EXPECT_TRUE(drawn.ends_with("\x1b[K")) << drawn;
  EXPECT_EQ(drawn.size(), 1 + 39 + 3u);
  printer.line("done");
  EXPECT_EQ(seen(), "\r\x1b[Kdone\r\n");
  printer.line("more");
  EXPECT_EQ(seen(), "more\r\n");
}

TEST_F(Terminal, QuietDrawsNothing) {
  ProgressPrinter printer(stream_, /*quiet=*/true);
  printer.update({});
  printer.line("done");
  EXPECT_EQ(seen(), "");
}

}  // namespace
}  // namespace quern::cli
