#include <array>
#include <cmath>
#include <cstring>

#include "cli/statistics.hpp"
#include "quern/safetensors.hpp"
#include "tests/cli/cli_fixture.hpp"
#include "train/ensemble.hpp"

namespace quern {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(Statistics, WilsonsIntervalIsTheOneOfThePaper) {
  // By hand, with z = 1.96: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
  const cli::Interval some = cli::wilson_interval(9, 10);
  EXPECT_NEAR(some.low, 0.5958, 1e-4);
  EXPECT_NEAR(some.high, 0.9821, 1e-4);
  const cli::Interval all = cli::wilson_interval(10, 10);
  EXPECT_NEAR(all.low, 1 / (1 + 3.8414588 / 10), 1e-6);
  EXPECT_DOUBLE_EQ(all.high, 1);
  EXPECT_NEAR(cli::wilson_interval(0, 10).low, 0, 1e-15);
  EXPECT_NEAR(cli::standard_error(0.99, 10000), 0.000994987, 1e-8);
  EXPECT_EQ(cli::standard_error(1, 10000), 0);
}

TEST(Statistics, SpreadTakesTheSampleDeviation) {
  const std::array values{1.0, 2.0, 6.0};
  const cli::Spread spread = cli::spread_of(values);
  EXPECT_EQ(spread.n, 3);
  EXPECT_DOUBLE_EQ(spread.mean, 3);
  EXPECT_DOUBLE_EQ(spread.sd, std::sqrt((4.0 + 1 + 9) / 2));
  EXPECT_EQ(spread.min, 1);
  EXPECT_EQ(spread.max, 6);
  EXPECT_EQ(cli::spread_of(std::array{0.5}).sd, 0);
}

TEST(Views, AreOrderedByDistance) {
  const std::vector<View> all = nearest_views(kMostShifts, false);
  EXPECT_THAT(nearest_views(5, false),
              ElementsAre(View{0, 0}, View{-1, 0}, View{0, -1}, View{0, 1}, View{1, 0}));
  EXPECT_THAT(nearest_views(2, true),
              ElementsAre(View{0, 0}, View{0, 0, true}, View{-1, 0}, View{-1, 0, true}));
  for (std::size_t i = 1; i < all.size(); ++i) {
    const auto distance = [](View v) { return v.down * v.down + v.right * v.right; };
    EXPECT_LE(distance(all[i - 1]), distance(all[i]));
    for (std::size_t j = 0; j < i; ++j) EXPECT_FALSE(all[i] == all[j]);
    EXPECT_LE(std::max(std::abs(all[i].down), std::abs(all[i].right)), 2);
  }
}

TEST(Views, MoveWholePixelsAndLeaveZeros) {
  Split images;
  images.count = 2;
  images.height = 2;
  images.width = 3;
  images.channels = 2;
  images.labels = {1, 0};
  for (int i = 1; i <= 24; ++i) images.images.push_back(static_cast<std::uint8_t>(i));
  const Split moved = viewed(images, {1, -1}, 2);
  EXPECT_THAT(moved.images,
              ElementsAre(0, 0, 0, 0, 0, 0, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, 15, 16, 17, 18, 0, 0));
  EXPECT_EQ(moved.labels, images.labels);
  EXPECT_EQ(viewed(images, {0, 0}, 2).images, images.images);
  EXPECT_THAT(viewed(images, {0, 1}, 1).images, ElementsAre(0, 0, 1, 2, 3, 4, 0, 0, 7, 8, 9, 10));
  // Channels keep their order in a mirror image, which is then moved.
  EXPECT_THAT(viewed(images, {0, 0, true}, 1).images, ElementsAre(5, 6, 3, 4, 1, 2, 11, 12, 9, 10, 7, 8));
  EXPECT_THAT(viewed(images, {1, 1, true}, 1).images, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 5, 6, 3, 4));
  // Out of sight altogether.
  EXPECT_THAT(viewed(images, {2, 0}, 1).images, testing::Each(0));
  EXPECT_THAT(viewed(images, {0, -3}, 1).images, testing::Each(0));
}

TEST(ProbabilityMean, DoesNotUnderflow) {
  // The second opinion gives class 1 a probability of e^-2000: half of the first one's is left.
  ProbabilityMean mean(1, 2);
  mean.add(std::array{0.0f, 0.0f});
  mean.add(std::array{2000.0f, 0.0f});
  const std::array<std::uint8_t, 1> label{1};
  const Evaluation result = mean.evaluate(label);
  EXPECT_NEAR(result.loss, -std::log(0.25), 1e-12);
  EXPECT_NEAR(std::exp(result.logits[0]), 0.75, 1e-6);
  EXPECT_EQ(result.correct, 0);
  ProbabilityMean sure(1, 2);
  sure.add(std::array{2000.0f, 0.0f});
  EXPECT_DOUBLE_EQ(sure.evaluate(label).loss, 2000);
}

/// Three networks on the small world, far from done with learning, so that they differ.
class Ensembles : public test::Cli {
 protected:
  Ensembles() {
    for (const char* seed : {"1", "2", "3"})
      train_json(
          {"--seed", seed, "--epochs", "1", "--lr", "0.002", "--run-dir", std::string("runs/") + seed});
  }
  nlohmann::json eval(std::vector<std::string> more) {
    std::vector<std::string> words{"eval", "--device", "cpu", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const test::Outcome outcome = quern(words);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return last_line_json(outcome);
  }
  std::vector<float> logits(std::vector<std::string> more) {
    more.insert(more.end(), {"--logits", "logits.safetensors"});
    eval(more);
    const SafetensorsFile file = SafetensorsFile::load(folder_ / "logits.safetensors");
    EXPECT_THAT(file.at("logits").shape, ElementsAre(60, 4));
    std::vector<float> values(240);
    std::memcpy(values.data(), file.at("logits").bytes.data(), values.size() * sizeof(float));
    return values;
  }
  /// Of the softmax of each.
  static std::vector<double> mean_of(const std::vector<std::vector<float>>& members) {
    std::vector<double> mean(240);
    for (const std::vector<float>& member : members) {
      const std::vector<float> probabilities = softmax(member, 4);
      for (std::size_t i = 0; i < mean.size(); ++i)
        mean[i] += static_cast<double>(probabilities[i]) / static_cast<double>(members.size());
    }
    return mean;
  }
  static void expect_logarithms(const std::vector<float>& logits, const std::vector<double>& mean) {
    for (std::size_t i = 0; i < mean.size(); ++i) EXPECT_NEAR(std::exp(logits[i]), mean[i], 1e-6) << i;
  }
  /// Image i of the test set is of class i mod 4.
  static std::int64_t correct_of(const std::vector<double>& mean) {
    std::int64_t correct = 0;
    for (std::size_t i = 0; i < 60; ++i) {
      const auto row = mean.begin() + static_cast<std::ptrdiff_t>(4 * i);
      correct += std::max_element(row, row + 4) - row == static_cast<std::ptrdiff_t>(i % 4);
    }
    return correct;
  }
};

TEST_F(Ensembles, AverageTheProbabilities) {
  const std::vector<std::string> runs{"runs/1", "runs/2", "runs/3"};
  std::vector<std::vector<float>> members;
  std::vector<nlohmann::json> alone;
  for (const std::string& run : runs) {
    members.push_back(logits({run}));
    alone.push_back(eval({run}));
  }
  ASSERT_NE(members[0], members[1]);
  const std::vector<double> mean = mean_of(members);
  expect_logarithms(logits({"--ensemble", runs[0], runs[1], runs[2]}), mean);

  const nlohmann::json json = eval({"--ensemble", runs[0], runs[1], runs[2]});
  EXPECT_EQ(json["correct"], correct_of(mean));
  double loss = 0;
  for (std::size_t i = 0; i < 60; ++i) loss -= std::log(mean[4 * i + i % 4]) / 60;
  EXPECT_NEAR(json["loss"].get<double>(), loss, 1e-6);
  ASSERT_EQ(json["members"].size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(json["members"][i]["checkpoint"], runs[i] + "/best.safetensors");
    for (const char* key : {"accuracy", "correct", "loss", "standard_error"})
      EXPECT_EQ(json["members"][i][key], alone[i][key]) << key;
  }
  std::int64_t sum = 0;
  for (const auto& row : json["confusion_matrix"])
    for (const auto& count : row) sum += count.get<std::int64_t>();
  EXPECT_EQ(sum, 60);
  const double p = json["accuracy"];
  EXPECT_NEAR(json["standard_error"].get<double>(), std::sqrt(p * (1 - p) / 60), 1e-12);
  EXPECT_LT(json["interval_95"][0], p);

  // Several checkpoints are an ensemble with the flag and without.
  EXPECT_EQ(eval(runs), json);
  const test::Outcome outcome = quern({"eval", "--ensemble", runs[0], runs[1], runs[2], "--device", "cpu"});
  for (const char* part : {"runs/2/best.safetensors", "ensemble", "std error", "95 % interval", "south-west"})
    EXPECT_THAT(outcome.out, HasSubstr(part));
}

TEST_F(Ensembles, OfOneNetworkTwiceIsThatNetwork) {
  const nlohmann::json one = eval({"runs/1"}), twice = eval({"runs/1", "runs/1"});
  EXPECT_EQ(one["correct"], twice["correct"]);
  EXPECT_EQ(one["confusion_matrix"], twice["confusion_matrix"]);
  EXPECT_NEAR(one["loss"].get<double>(), twice["loss"].get<double>(), 1e-6);
  EXPECT_EQ(one["checkpoint"], "runs/1/best.safetensors");
}

// What --tta computes, computed from test sets that are shifted or mirrored beforehand.
TEST_F(Ensembles, ViewsAreShiftedAndMirroredImages) {
  const Split train = test::small_images(200), images = test::small_images(60, 8);
  const std::vector<float> plain = logits({"runs/1"});
  EXPECT_EQ(logits({"runs/1", "--tta", "1"}), plain);
  const std::vector<float> five = logits({"runs/1", "--tta", "5"});
  const nlohmann::json both = eval({"runs/1", "runs/2", "--tta", "5"});
  std::vector<std::vector<float>> first, all;
  const nlohmann::json reflected = eval({"runs/1", "--tta", "2", "--tta-mirror"});
  const std::vector<float> four = logits({"runs/1", "--tta", "2", "--tta-mirror"});
  for (const View view : nearest_views(5, false)) {
    write_data(train, viewed(images, view, images.count));
    first.push_back(logits({"runs/1"}));
    all.push_back(first.back());
    all.push_back(logits({"runs/2"}));
  }
  ASSERT_NE(first[1], plain);
  expect_logarithms(five, mean_of(first));
  EXPECT_EQ(both["correct"], correct_of(mean_of(all)));
  EXPECT_EQ(both["members"][0]["correct"], correct_of(mean_of(first)));
  EXPECT_EQ(both["views"], 5);

  std::vector<std::vector<float>> mirrored;
  for (const View view : nearest_views(2, true)) {
    write_data(train, viewed(images, view, images.count));
    mirrored.push_back(logits({"runs/1"}));
  }
  ASSERT_NE(mirrored[1], plain);
  expect_logarithms(four, mean_of(mirrored));
  EXPECT_EQ(reflected["views"], 4);
}

TEST_F(Ensembles, RefuseMembersThatDoNotFit) {
  // Another size, another number of classes, and classes of other names.
  std::ofstream(folder_ / "five.json")
      << R"({"name": "five", "input": {"shape": [8, 8, 1]}, "layers": [{"name": "flatten", "op": "flatten"},
        {"name": "logits", "op": "dense", "units": 5}]})";
  quern({"train", "--model", "five.json", "--data", "data", "--device", "cpu", "--epochs", "1", "--run-dir",
         "runs/five", "--quiet"});
  expect_bad_usage({"eval", "--ensemble", "runs/1", "runs/five"},
                   {"runs/1/best.safetensors takes 8x8x1 images in 4 classes",
                    "runs/five/best.safetensors takes 8x8x1 images in 5 classes"});
  std::ofstream(folder_ / "data/classes.txt") << "a\nb\nc\nd\n";
  train_json({"--epochs", "1", "--run-dir", "runs/letters"});
  expect_bad_usage({"eval", "--ensemble", "runs/1", "runs/letters"},
                   {"runs/1/best", "north-west", "runs/letters/best", "a, b, c, d"});
  std::filesystem::rename(folder_ / "data", folder_ / "elsewhere");
  std::ofstream(folder_ / "elsewhere/classes.txt") << "north-west\nnorth-east\nsouth-west\nsouth-east\n";
  train_json({"--data", "elsewhere", "--epochs", "1", "--run-dir", "runs/moved"});
  expect_bad_usage({"eval", "--ensemble", "runs/1", "runs/moved"},
                   {"trained on data", "on elsewhere", "--data"});
  EXPECT_EQ(eval({"--ensemble", "runs/1", "runs/moved", "--data", "elsewhere"})["members"].size(), 2u);
  expect_bad_usage({"eval", "--ensemble", "runs/1"}, {"--ensemble", "at least two"});
  expect_bad_usage({"eval", "runs/1", "--tta", "0"}, {"--tta 0", "1 to 25"});
  expect_bad_usage({"eval", "runs/1", "--tta", "26"}, {"--tta 26", "1 to 25"});
}

TEST_F(Ensembles, PlainEvaluationPrintsItsErrorBar) {
  const nlohmann::json json = eval({"runs/1"});
  const cli::Interval interval = cli::wilson_interval(json["correct"], 60);
  const test::Outcome outcome = quern({"eval", "runs/1", "--device", "cpu"});
  EXPECT_THAT(outcome.out, HasSubstr("95 % interval " + cli::to_text(interval)));
  EXPECT_THAT(outcome.out, Not(HasSubstr("views")));
  EXPECT_THAT(quern({"eval", "runs/1", "--device", "cpu", "--tta", "3"}).out,
              HasSubstr("3 views of each image"));
}

}  // namespace
}  // namespace quern
