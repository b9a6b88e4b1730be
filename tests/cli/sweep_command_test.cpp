#include <chrono>
#include <cmath>
#include <set>
#include <thread>

#include "cli/statistics.hpp"
#include "cli/sweep_axes.hpp"
#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(SweepAxes, AGridIsEveryCombination) {
  const std::vector<cli::Axis> axes{cli::parse_axis("--lr=1e-3,3e-3"),
                                    cli::parse_axis("spec:layers.a.kernel=[3,3]|5")};
  EXPECT_EQ(axes[0].name, "lr");
  EXPECT_THAT(cli::grid(axes), ElementsAre(ElementsAre("1e-3", "[3,3]"), ElementsAre("1e-3", "5"),
                                           ElementsAre("3e-3", "[3,3]"), ElementsAre("3e-3", "5")));
  EXPECT_THAT(cli::words_of(axes, {"1e-3", "5"}), ElementsAre("--lr=1e-3", "--set=layers.a.kernel=5"));
  EXPECT_EQ(cli::describe(axes, {"1e-3", "5"}), "lr=1e-3 layers.a.kernel=5");
  EXPECT_EQ(cli::grid({}).size(), 1u);
}

TEST(SweepAxes, DrawsAreDistinctInRangeAndGrowInPlace) {
  const std::vector<cli::Axis> axes{
      cli::parse_axis("lr=log:1e-4..1e-2"), cli::parse_axis("momentum=uniform:0.5..0.9"),
      cli::parse_axis("batch=int:8..11"), cli::parse_axis("optimizer=sgd,adam")};
  const std::vector<cli::Setting> few = cli::draw(axes, 10, 1), many = cli::draw(axes, 400, 1);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), many.begin()));
  EXPECT_NE(cli::draw(axes, 10, 2), few);
  int below = 0;
  std::set<std::string> batches, optimizers;
  for (const cli::Setting& setting : many) {
    const double lr = std::stod(setting[0]), momentum = std::stod(setting[1]);
    EXPECT_TRUE(lr >= 1e-4 && lr <= 1e-2) << lr;
    EXPECT_TRUE(momentum >= 0.5 && momentum <= 0.9) << momentum;
    below += lr < 1e-3 ? 1 : 0;
    batches.insert(setting[2]);
    optimizers.insert(setting[3]);
  }
  // Half of a logarithmic range lies below its geometric mean: 200 of 400, give or take 5 standard
  // deviations.
  EXPECT_NEAR(below, 200, 50);
  EXPECT_THAT(batches, ElementsAre("10", "11", "8", "9"));
  EXPECT_EQ(optimizers.size(), 2u);
  EXPECT_EQ(std::set(many.begin(), many.end()).size(), 400u);
  const std::vector<cli::Axis> coin{cli::parse_axis("optimizer=sgd,adam")};
  EXPECT_EQ(cli::draw(coin, 2, 1).size(), 2u);
  EXPECT_ANY_THROW(cli::draw(coin, 3, 1));
}

/// Sweeps of the small world that take a moment.
class SweepCommand : public test::Cli {
 protected:
  static std::vector<std::string> sweep(const std::vector<std::string>& more) {
    std::vector<std::string> words{"sweep", "--model",  "small.json", "--data",   "data", "--threads",
                                   "2",     "--device", "cpu",        "--epochs", "1",    "--validation",
                                   "40",    "--dir",    "sw"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  nlohmann::json sweep_json(std::vector<std::string> more, int status = 0) {
    more.emplace_back("--json");
    const test::Outcome outcome = quern(sweep(more));
    EXPECT_EQ(outcome.status, status) << outcome.err;
    return last_line_json(outcome);
  }
  std::vector<nlohmann::json> lines(const char* name) {
    std::vector<nlohmann::json> all;
    std::istringstream text(test::read_text(folder_ / name));
    for (std::string line; std::getline(text, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }
  void remove_test_set() {
    for (const char* name : {"data/t10k-images-idx3-ubyte", "data/t10k-labels-idx1-ubyte"})
      std::filesystem::remove(folder_ / name);
  }
};

TEST_F(SweepCommand, RanksAGridByItsValidationAccuracy) {
  const std::vector<std::string> flags{
      "--vary", "lr=0.0001,0.02", "--vary", "spec:layers.conv.filters=2,4", "--seeds", "2", "--seed", "5"};
  const nlohmann::json json = sweep_json(flags);
  EXPECT_EQ(json["runs"], 8);
  EXPECT_EQ(json["runs_done"], 8);
  EXPECT_EQ(json["interrupted"], false);
  EXPECT_TRUE(json["test"].is_null());
  ASSERT_EQ(json["ranking"].size(), 4u);
  double previous = 1;
  for (const nlohmann::json& setting : json["ranking"]) {
    const auto values = setting["validation_accuracies"].get<std::vector<double>>();
    const cli::Spread spread = cli::spread_of(values);
    EXPECT_EQ(spread.n, 2);
    EXPECT_THAT(setting["seeds"], ElementsAre(5, 6));
    EXPECT_EQ(setting["validation"]["mean"], spread.mean);
    EXPECT_EQ(setting["validation"]["sd"], spread.sd);
    EXPECT_EQ(setting["validation"]["min"], spread.min);
    EXPECT_EQ(setting["validation"]["max"], spread.max);
    EXPECT_EQ(setting["validation"]["standard_error"], cli::standard_error(spread.mean, 40));
    EXPECT_LE(spread.mean, previous);
    previous = spread.mean;
  }
  // The quicker learner is found, and the network is the one that `train` makes.
  EXPECT_EQ(json["ranking"][0]["settings"]["lr"], "0.02");
  const nlohmann::json alone = train_json({"--epochs", "1", "--validation", "40", "--seed", "6", "--lr",
                                           "0.02", "--set", "layers.conv.filters=2", "--no-save"});
  std::int64_t met = 0;
  for (const nlohmann::json& run : lines("sw/runs.jsonl")) {
    if (run["seed"] != 6 || run["settings"]["lr"] != "0.02" || run["settings"]["layers.conv.filters"] != "2")
      continue;
    ++met;
    EXPECT_EQ(run["weights_hash"], alone["weights_hash"]);
    EXPECT_EQ(run["validation_accuracy"], alone["best_validation_accuracy"]);
    EXPECT_EQ(run["parameters"], alone["parameters"]);
    EXPECT_TRUE(
        std::filesystem::exists(folder_ / "sw" / run["run_dir"].get<std::string>() / "best.safetensors"));
  }
  EXPECT_EQ(met, 1);

  // A second start has nothing left to train and says the same.
  const auto before = lines("sw/runs.jsonl");
  EXPECT_EQ(sweep_json(flags), json);
  EXPECT_EQ(lines("sw/runs.jsonl"), before);
  const test::Outcome table = quern({"sweep", "--dir", "sw"});
  EXPECT_EQ(table.status, 0) << table.err;
  for (const char* part : {"8 of 8 runs are done already", "lr", "layers.conv.filters", "mean", "sd",
                           "std error", "best by validation: lr=0.02", "quern train --model=small.json"})
    EXPECT_THAT(table.out, HasSubstr(part));
}

TEST_F(SweepCommand, NeverReadsTheTestSetBeforeTheFinalTest) {
  const Split train = test::small_images(200), images = test::small_images(60, 8);
  const std::vector<std::string> flags{"--vary", "lr=0.0001,0.01", "--seeds", "2"};
  auto with_test = flags;
  with_test.emplace_back("--final-test");
  // Without its files, and with files that no reader takes.
  remove_test_set();
  const nlohmann::json blind = sweep_json(flags);
  std::filesystem::remove_all(folder_ / "sw");
  std::ofstream(folder_ / "data/t10k-images-idx3-ubyte") << "no images";
  std::ofstream(folder_ / "data/t10k-labels-idx1-ubyte") << "no labels";
  EXPECT_EQ(sweep_json(flags), blind);

  // Asked for, it is missed when all runs are done.
  const test::Outcome missed = quern(sweep(with_test));
  EXPECT_EQ(missed.status, 2);
  EXPECT_THAT(missed.err, HasSubstr("t10k-images"));
  write_data(train, images);
  const nlohmann::json seen = sweep_json(with_test);
  EXPECT_EQ(seen["ranking"], blind["ranking"]);
  ASSERT_EQ(seen["test"]["n"], 2);
  EXPECT_EQ(seen["test"]["settings"], blind["ranking"][0]["settings"]);
  EXPECT_EQ(seen["test"]["images"], 60);
  std::vector<double> accuracies;
  for (const nlohmann::json& run : seen["test"]["runs"]) {
    const std::string checkpoint = "sw/" + run["checkpoint"].get<std::string>();
    const nlohmann::json eval = last_line_json(quern({"eval", checkpoint, "--device", "cpu", "--json"}));
    EXPECT_EQ(run["accuracy"], eval["accuracy"]);
    accuracies.push_back(run["accuracy"]);
  }
  EXPECT_EQ(seen["test"]["mean"], cli::spread_of(accuracies).mean);
  EXPECT_EQ(seen["test"]["sd"], cli::spread_of(accuracies).sd);

  // Once: what was seen is kept, and not looked at again.
  remove_test_set();
  EXPECT_EQ(sweep_json(with_test)["test"], seen["test"]);
  EXPECT_EQ(lines("sw/tests.jsonl").size(), 2u);
}

TEST_F(SweepCommand, GoesOnWithWhatIsMissing) {
  sweep_json({"--vary", "lr=0.001,0.01", "--seeds", "1"});
  const auto first = lines("sw/runs.jsonl");
  ASSERT_EQ(first.size(), 2u);
  // More seeds, and nothing else said: the settings are those of the folder.
  const test::Outcome more = quern({"sweep", "--dir", "sw", "--seeds", "2", "--json"});
  ASSERT_EQ(more.status, 0) << more.err;
  EXPECT_THAT(more.err, HasSubstr("2 of 4 runs are done already"));
  EXPECT_EQ(last_line_json(more)["runs_done"], 4);
  auto all = lines("sw/runs.jsonl");
  ASSERT_EQ(all.size(), 4u);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), all.begin()));
  // A run whose record is lost, and one whose folder is half written.
  std::ofstream(folder_ / "sw/runs.jsonl") << all[0].dump() << "\n" << all[3].dump() << "\n";
  std::filesystem::remove(folder_ / "sw/runs/001-seed2/last.safetensors");
  EXPECT_EQ(last_line_json(quern({"sweep", "--dir", "sw", "--json"}))["runs_done"], 4);
  for (const nlohmann::json& run : lines("sw/runs.jsonl"))
    for (const nlohmann::json& other : all)
      if (run["seed"] == other["seed"] && run["setting"] == other["setting"]) {
        EXPECT_EQ(run["weights_hash"], other["weights_hash"]);
        EXPECT_EQ(run["validation_accuracy"], other["validation_accuracy"]);
      }
}

TEST_F(SweepCommand, RefusesTheFolderOfAnotherSweep) {
  sweep_json({"--vary", "lr=0.001,0.01", "--seeds", "1", "--batch", "16"});
  expect_bad_usage(
      sweep({"--vary", "lr=0.001,0.02", "--seeds", "1", "--batch", "16"}),
      {"sw holds a sweep of other settings", "it has lr=0.001,0.01", "now given: lr=0.001,0.02"});
  expect_bad_usage(sweep({"--vary", "lr=0.001,0.01", "--seeds", "1", "--batch", "32"}),
                   {"it has --batch=16", "now given: --batch=32", "quern sweep --dir sw"});
  expect_bad_usage(sweep({"--vary", "lr=0.001,0.01", "--batch", "16", "--random", "2"}), {"it is a grid"});
  write_data(test::small_images(204), test::small_images(60, 8));
  expect_bad_usage({"sweep", "--dir", "sw"}, {"another training set"});
  write_data(test::small_images(200), test::small_images(60, 8));
  std::string spec = test::read_text(folder_ / "small.json");
  spec.replace(spec.find("\"filters\": 4"), 12, "\"filters\": 3");
  std::ofstream(folder_ / "small.json") << spec;
  expect_bad_usage({"sweep", "--dir", "sw"}, {"the spec of small.json has changed"});
  std::filesystem::create_directories(folder_ / "full");
  std::ofstream(folder_ / "full/notes.txt") << "not a sweep";
  expect_bad_usage(sweep({"--dir", "full"}), {"full", "holds no sweep"});
  std::ofstream(folder_ / "sw/sweep.json") << "{";
  expect_bad_usage({"sweep", "--dir", "sw"}, {"sw/sweep.json", "not valid JSON"});
}

TEST_F(SweepCommand, InterruptedAndContinuedEqualsUninterrupted) {
  const std::vector<std::string> flags{"--vary", "lr=0.001,0.01", "--seeds", "1",     "--epochs",
                                       "40",     "--batch",       "1",       "--json"};
  auto whole = flags;
  whole.insert(whole.end(), {"--dir", "whole"});
  ASSERT_EQ(quern(sweep(whole)).status, 0);

  test::Process process(sweep(flags), folder_.path());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!std::filesystem::exists(folder_ / "sw/runs/001-seed1/metrics.jsonl") && process.running() &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  process.signal(SIGINT);
  const test::Outcome outcome = process.wait();
  EXPECT_EQ(outcome.status, 130) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("go on with: quern sweep --dir sw"));
  const nlohmann::json interrupted = last_line_json(outcome);
  EXPECT_EQ(interrupted["interrupted"], true);
  EXPECT_LT(interrupted["runs_done"], 2);

  EXPECT_EQ(last_line_json(quern({"sweep", "--dir", "sw", "--json"}))["runs_done"], 2);
  const auto expected = lines("whole/runs.jsonl"), found = lines("sw/runs.jsonl");
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    for (const char* key : {"setting", "seed", "weights_hash", "validation_accuracy", "best_epoch"})
      EXPECT_EQ(found[i][key], expected[i][key]) << key;
}

TEST_F(SweepCommand, DrawsSettingsAtRandom) {
  const std::vector<std::string> axes{
      "--vary", "lr=log:1e-4..1e-2", "--vary", "augment-shift=uniform:0..2", "--seeds", "1", "--no-save"};
  auto two = axes, three = axes;
  two.insert(two.end(), {"--random", "2"});
  three.insert(three.end(), {"--random", "3"});
  sweep_json(two);
  const auto first = lines("sw/runs.jsonl");
  ASSERT_EQ(first.size(), 2u);
  EXPECT_NE(first[0]["settings"], first[1]["settings"]);
  EXPECT_EQ(sweep_json(three)["ranking"].size(), 3u);
  const auto all = lines("sw/runs.jsonl");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), all.begin()));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "sw/runs"));
}

TEST_F(SweepCommand, OneSettingGivesTheSpreadOverSeeds) {
  const nlohmann::json json =
      sweep_json({"--seeds", "3", "--validation", "0", "--final-test", "--epochs", "2"});
  ASSERT_EQ(json["ranking"].size(), 1u);
  EXPECT_EQ(json["ranking"][0]["validation"]["n"], 0);
  EXPECT_EQ(json["test"]["n"], 3);
  const nlohmann::json alone = train_json({"--seed", "2", "--epochs", "2", "--no-save"});
  EXPECT_EQ(json["test"]["runs"][1]["accuracy"], alone["test_accuracy"]);
  EXPECT_EQ(json["test"]["runs"][1]["loss"], alone["test_loss"]);
  const test::Outcome table = quern({"sweep", "--dir", "sw", "--final-test"});
  for (const char* part : {"training accuracy", "test accuracy", "std error"})
    EXPECT_THAT(table.out, HasSubstr(part));
}

TEST_F(SweepCommand, RecordsRunsThatDiverge) {
  const nlohmann::json json = sweep_json({"--vary", "lr=1e30,0.01", "--optimizer", "sgd", "--seeds", "1"});
  EXPECT_EQ(json["ranking"][0]["settings"]["lr"], "0.01");
  EXPECT_EQ(json["ranking"][1]["failed"], 1);
  EXPECT_EQ(json["ranking"][1]["validation"]["n"], 0);
  EXPECT_THAT(lines("sw/runs.jsonl")[0]["failed"].get<std::string>(), HasSubstr("not finite"));
  std::filesystem::remove_all(folder_ / "sw");
  EXPECT_EQ(quern(sweep({"--lr", "1e30", "--optimizer", "sgd", "--seeds", "1"})).status, 1);
}

TEST_F(SweepCommand, RefusesWhatMakesNoSense) {
  expect_bad_usage(sweep({"--vary", "lrr=1,2"}), {"no flag --lrr", "did you mean 'lr'"});
  expect_bad_usage(sweep({"--vary", "layers.conv.filters=1,2"}), {"spec:layers.conv.filters=1,2"});
  expect_bad_usage(sweep({"--vary", "spec:layers.conf.filters=1,2"}), {"'conf'", "did you mean 'conv'"});
  expect_bad_usage(sweep({"--vary", "seed=1,2"}), {"seed", "--seeds N"});
  expect_bad_usage(sweep({"--vary", "validation=10,20"}), {"validation", "the same for all settings"});
  expect_bad_usage(sweep({"--vary", "lr"}), {"--vary lr", "NAME=VALUES"});
  expect_bad_usage(sweep({"--vary", "lr=0.1,,0.2"}), {"empty"});
  expect_bad_usage(sweep({"--vary", "lr=0.1,0.1"}), {"listed twice"});
  expect_bad_usage(sweep({"--vary", "lr=0.1,0.2", "--vary", "lr=0.3"}), {"varied twice"});
  expect_bad_usage(sweep({"--vary", "lr=0.1,0.2", "--lr", "0.3"}), {"contradict"});
  expect_bad_usage(sweep({"--vary", "lr=0.1,many"}), {"with lr=many", "--lr"});
  expect_bad_usage(sweep({"--vary", "batch=16,500"}), {"with batch=500", "160 training images"});
  expect_bad_usage(sweep({"--vary", "lr=log:1e-4..1e-2"}), {"--random N"});
  expect_bad_usage(sweep({"--vary", "lr=1e-4..1e-2", "--random", "3"}), {"uniform:1e-4..1e-2"});
  expect_bad_usage(sweep({"--vary", "lr=log:0..1", "--random", "3"}), {"above 0"});
  expect_bad_usage(sweep({"--vary", "lr=log:2..1", "--random", "3"}), {"below the upper"});
  expect_bad_usage(sweep({"--vary", "batch=int:1.5..4", "--random", "3"}), {"whole numbers"});
  expect_bad_usage(sweep({"--vary", "optimizer=sgd,adam", "--random", "3"}), {"only 2 different settings"});
  expect_bad_usage(sweep({"--random", "3"}), {"--vary"});
  expect_bad_usage(sweep({"--search-seed", "3"}), {"--random"});
  expect_bad_usage(sweep({"--vary", "lr=0.1,0.2", "--validation", "0"}), {"--validation 0"});
  expect_bad_usage(sweep({"--validation", "200"}), {"--validation 200"});
  expect_bad_usage(sweep({"--final-test", "--no-save"}), {"--final-test", "--no-save"});
  expect_bad_usage(sweep({"--seeds", "0"}), {"--seeds 0"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "sw"));
}

using SetFlag = test::Cli;

TEST_F(SetFlag, ReplacesFieldsOfTheSpec) {
  // 3*3*1*F + F of the convolution, 2 F of the batch norm, 64 F * 4 + 4 of the dense layer.
  const auto parameters = [](int filters) { return 9 * filters + filters + 2 * filters + 256 * filters + 4; };
  const nlohmann::json plain = train_json({"--epochs", "1", "--no-save"});
  EXPECT_EQ(plain["parameters"], parameters(4));
  const nlohmann::json wide =
      train_json({"--no-save", "--set", "layers.conv.filters=6", "--set", "recipe.epochs=1", "--set",
                  "recipe.schedule.kind=constant", "--set", "input.mean=0.2"});
  EXPECT_EQ(wide["parameters"], parameters(6));
  EXPECT_EQ(wide["epochs"], 1);
  // What the spec says already changes nothing.
  const nlohmann::json same = train_json(
      {"--epochs", "1", "--no-save", "--set", "layers.conv.padding=same", "--set", "layers.conv.bias=true",
       "--set", "layers.conv.kernel=[3,3]", "--set", "recipe.schedule.kind=cosine"});
  EXPECT_EQ(same["weights_hash"], plain["weights_hash"]);
  // A flag of the recipe goes before the spec.
  EXPECT_EQ(train_json({"--no-save", "--set", "recipe.epochs=7", "--epochs", "1"})["epochs"], 1);
}

TEST_F(SetFlag, RefusesWhatTheSpecHasNot) {
  expect_bad_usage(train({"--set", "layers.conv"}), {"--set layers.conv", "FIELD=VALUE"});
  expect_bad_usage(train({"--set", "layer.conv.filters=2"}), {"did you mean 'layers'"});
  expect_bad_usage(train({"--set", "layers.comv.filters=2"}), {"no layer 'comv'", "did you mean 'conv'"});
  expect_bad_usage(train({"--set", "layers.conv.filter=2"}),
                   {"layer 'conv' (conv2d) has no field 'filter'", "did you mean 'filters'"});
  expect_bad_usage(train({"--set", "layers.conv.op=dense"}), {"no field 'op'"});
  expect_bad_usage(train({"--set", "layers.conv.filters.x=2"}), {"'filters'", "has no fields"});
  expect_bad_usage(train({"--set", "recipe.schedule.knd=step"}), {"recipe.schedule", "did you mean 'kind'"});
  expect_bad_usage(train({"--set", "layers.conv.filters=0"}),
                   {"small.json --set layers.conv.filters=0: layer 'conv'", "whole number"});
  expect_bad_usage(train({"--set", "layers.conv.filters=many"}), {"'filters'", "\"many\""});
}

TEST_F(SetFlag, CannotChangeARunThatIsResumed) {
  train_json({"--epochs", "1", "--set", "layers.conv.filters=6", "--set", "recipe.schedule.kind=constant",
              "--run-dir", "run"});
  EXPECT_EQ(quern(train({"--resume", "run", "--set", "layers.conv.filters=6", "--epochs", "2"})).status, 0);
  expect_bad_usage({"train", "--resume", "run", "--set", "layers.conv.filters=5"},
                   {"--set layers.conv.filters=5"});
}

}  // namespace
}  // namespace quern
