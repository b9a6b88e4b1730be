#include "cli/dashboard.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "cli/console.hpp"
#include "cli/plot.hpp"

namespace quern::cli {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::vector<std::optional<double>> values(std::initializer_list<double> list) {
  return {list.begin(), list.end()};
}

TEST(Plot, DrawsInAscii) {
  EXPECT_THAT(plot(values({0, 1, 2}), 0, 2, 3, 3, false), ElementsAre("  *", " * ", "*  "));
  // A steep curve has no gaps.
  EXPECT_THAT(plot(values({0, 3}), 0, 3, 2, 4, false), ElementsAre(" *", " *", " *", "* "));
  // The distance between two values is a straight line; what lies outside is drawn at the edge.
  EXPECT_THAT(plot(values({0, 4}), 0, 4, 5, 5, false),
              ElementsAre("    *", "   * ", "  *  ", " *   ", "*    "));
  EXPECT_THAT(plot(values({-9, 9}), 0, 1, 2, 2, false), ElementsAre(" *", "* "));
}

TEST(Plot, TakesTheMeanOfWhatFallsTogether) {
  EXPECT_THAT(plot(values({0, 2, 2, 2, 0, 2, 2, 2, 1, 1}), 0, 2, 1, 3, false), ElementsAre(" ", "*", " "));
}

TEST(Plot, DrawsDotsInBraille) {
  // Two by four dots a character: the first is the left upper one, U+2801.
  EXPECT_THAT(plot(values({1, 0}), 0, 1, 1, 1, true), ElementsAre("\u28B1"));
  EXPECT_THAT(plot(values({3, 3}), 0, 3, 1, 1, true), ElementsAre("\u2809"));
  EXPECT_THAT(plot(values({0, 0}), 0, 3, 1, 1, true), ElementsAre("\u28C0"));
  EXPECT_THAT(plot({std::nullopt, std::nullopt}, 0, 3, 1, 1, true), ElementsAre(" "));
}

TEST(Plot, LeavesGapsAndSurvivesWhatIsNoNumber) {
  EXPECT_THAT(plot({std::nullopt, 1.0}, 0, 1, 2, 1, false), ElementsAre(" *"));
  EXPECT_THAT(plot({NAN, 1.0, NAN}, 0, 1, 3, 1, false), ElementsAre(" * "));
  EXPECT_THAT(plot({}, 0, 1, 3, 1, false), ElementsAre("   "));
  EXPECT_THAT(plot(values({1}), 0, 1, 0, 2, false), ElementsAre("", ""));
  EXPECT_THAT(plot(values({5, 5}), 5, 5, 2, 1, false), ElementsAre("**"));
}

TEST(Plot, FillsBars) {
  EXPECT_EQ(bar(0.5, 4, false), "##--");
  EXPECT_EQ(bar(0, 3, false), "---");
  EXPECT_EQ(bar(7, 3, false), "###");
  EXPECT_EQ(bar(NAN, 2, false), "--");
  EXPECT_EQ(bar(0.5, 1, true), "\u258C");
  EXPECT_EQ(bar(1, 2, true), "\u2588\u2588");
  EXPECT_EQ(bar(0.5625, 2, true), "\u2588\u258F");
  EXPECT_EQ(bar(0, 1, true), "\u2591");
}

TrainProgress progress(std::int64_t epoch, std::int64_t step, double loss, double accuracy) {
  TrainProgress now;
  now.epoch = epoch;
  now.epochs = 4;
  now.step_in_epoch = step;
  now.steps_per_epoch = 100;
  now.loss = loss;
  now.accuracy = accuracy;
  now.images_per_second = 12345;
  now.seconds_left = 63;
  return now;
}

TEST(Curves, TellWhatHappenedSinceTheLastPoint) {
  Curves curves;
  curves.add(progress(1, 10, 2.0, 0.2));
  curves.add(progress(1, 20, 1.5, 0.4));  // mean 1.5 over 20 steps: 1.0 over the last ten
  curves.add(progress(1, 20, 1.5, 0.4));  // nothing new
  curves.add(progress(2, 50, 0.5, 0.9));
  ASSERT_EQ(curves.points().size(), 3u);
  EXPECT_DOUBLE_EQ(curves.points()[1].loss, 1.0);
  EXPECT_DOUBLE_EQ(curves.points()[1].accuracy, 0.6);
  EXPECT_DOUBLE_EQ(curves.points()[1].steps, 10);
  EXPECT_DOUBLE_EQ(curves.points()[2].loss, 0.5);
  EXPECT_DOUBLE_EQ(curves.points()[2].step, 150);
}

TEST(Curves, KeepTheirMeansWhenNeighboursAreMerged) {
  Curves curves;
  double steps = 0, weighted = 0, sum = 0;
  constexpr int kCalls = 20000;
  TrainProgress now = progress(1, 0, 0, 0.5);
  now.steps_per_epoch = kCalls;
  for (int i = 1; i <= kCalls; ++i) {
    sum += i % 7;
    now.step_in_epoch = i;
    now.loss = sum / i;
    curves.add(now);
  }
  EXPECT_LE(curves.points().size(), Curves::kMost);
  EXPECT_GE(curves.points().size(), Curves::kMost / 4);
  double before = 0;
  for (const Curves::Point& point : curves.points()) {
    EXPECT_NEAR(point.step - point.steps, before, 1e-6);
    before = point.step;
    steps += point.steps;
    weighted += point.steps * point.loss;
  }
  EXPECT_DOUBLE_EQ(steps, kCalls);
  EXPECT_NEAR(weighted / steps, sum / kCalls, 1e-6);
}

DashboardState state() {
  DashboardState state;
  state.title = "seed-bn: 101,770 parameters, on cpu";
  for (int epoch = 1; epoch <= 3; ++epoch)
    for (int step = 5; step <= 100; step += 5)
      state.curves.add(progress(epoch, step, 2.0 / (epoch * epoch) / (1 + 0.05 * step), 1 - 0.5 / epoch));
  state.progress = progress(3, 40, 0.0712, 0.9781);
  state.learning_rate = 0.00095;
  state.seconds = 42;
  state.shares_title = "time of a step by node (measured)";
  for (int i = 0; i < 12; ++i)
    state.shares.push_back({"conv" + std::to_string(i) + ".forward", 0.2 / (1 + i)});
  for (int i = 0; i < 6; ++i) state.lines.push_back("line " + std::to_string(i));
  return state;
}

/// Without the escapes of colours; fails the test where there is another.
std::string plain(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\x1b') {
      EXPECT_GE(static_cast<unsigned char>(text[i]), 0x20) << text;
      out += text[i];
      continue;
    }
    const std::size_t end = text.find('m', i);
    if (end == std::string::npos || text[i + 1] != '[') {
      ADD_FAILURE() << text;
      return out;
    }
    i = end;
  }
  return out;
}

TEST(Dashboard, FitsEveryWindow) {
  for (const bool unicode : {true, false})
    for (std::size_t columns = 1; columns <= 200; columns += columns < 44 ? 1 : 13)
      for (std::size_t rows = 1; rows <= 60; rows += rows < 30 ? 1 : 10) {
        const auto lines = render_dashboard(state(), columns, rows, {unicode, true});
        EXPECT_LE(lines.size(), rows);
        for (const std::string& line : lines)
          EXPECT_LE(display_width(plain(line)), columns) << columns << "x" << rows << ": " << line;
      }
}

TEST(Dashboard, ShowsAllOfItIn80By24) {
  std::string text;
  const auto lines = render_dashboard(state(), 80, 24, {false, false});
  EXPECT_LE(lines.size(), 24u);
  for (const std::string& line : lines) text += line + "\n";
  for (const char* part :
       {"seed-bn: 101,770 parameters", "epoch 3/4 ", " step 40/100", "42 s, 1:03 left", "loss 0.0712",
        "accuracy 97.81 %", "12,345 images/s", "learning rate 0.00095", "loss (logarithmic)", "100 %",
        "time of a step by node (measured)", "conv0.forward  20.0 % ####", "line 5"})
    EXPECT_THAT(text, HasSubstr(part));
  // 40 of 100 steps; 240 of 400.
  const auto share_of = [](const std::string& line) {
    const auto filled = std::count(line.begin(), line.end(), '#'),
               empty = std::count(line.begin(), line.end(), '-');
    return static_cast<double>(filled) / static_cast<double>(filled + empty);
  };
  EXPECT_NEAR(share_of(lines[1]), 0.4, 0.02);
  EXPECT_NEAR(share_of(lines[2]), 0.6, 0.02);
}

TEST(Dashboard, ShowsTheNumbersAndACurveIn40Columns) {
  std::string text;
  for (const std::string& line : render_dashboard(state(), 40, 24, {false, false})) text += line + "\n";
  for (const char* part : {"epoch 3/4", "step 40/100", "loss 0.0712", "accuracy 97.81 %", "12,345 images/s",
                           "learning rate 0.00095", "1:03 left", "loss (logarithmic)", "\naccuracy"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(Dashboard, UsesColourAndUnicodeOnlyWhereTheyAreWanted) {
  const auto text = [](bool unicode, bool colour) {
    std::string all;
    for (const std::string& line : render_dashboard(state(), 100, 40, {unicode, colour})) all += line + "\n";
    return all;
  };
  EXPECT_THAT(text(true, true), HasSubstr("\x1b[32m"));
  EXPECT_THAT(text(true, false), Not(HasSubstr("\x1b")));
  const std::string ascii = text(false, false);
  for (const char c : ascii) EXPECT_LT(static_cast<unsigned char>(c), 0x80);
  // Without its colours it is the same picture.
  EXPECT_EQ(plain(render_dashboard(state(), 100, 40, {true, true})[0]),
            render_dashboard(state(), 100, 40, {true, false})[0]);
}

TEST(Dashboard, BeginsBeforeThereIsAnythingToShow) {
  DashboardState empty;
  empty.title = "about to begin";
  for (const std::size_t columns : {40u, 120u}) {
    const auto lines = render_dashboard(empty, columns, 30, {true, false});
    EXPECT_EQ(lines[0], "about to begin");
    EXPECT_THAT(lines, Not(Contains(HasSubstr("nan"))));
  }
}

TEST(Dashboard, SurvivesALossThatIsNoNumber) {
  DashboardState bad = state();
  bad.curves.add(progress(4, 10, NAN, 0.5));
  bad.curves.add(progress(4, 20, INFINITY, 0.5));
  bad.progress = progress(4, 20, NAN, 0.5);
  EXPECT_THAT(render_dashboard(bad, 80, 24, {true, false}), Contains(HasSubstr("loss nan")));
}

}  // namespace
}  // namespace quern::cli
