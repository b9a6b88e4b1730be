#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

using testing::HasSubstr;
using testing::Not;

class TrainCommand : public test::Cli {
 protected:
  std::string bytes(const std::string& name) const { return test::read_text(folder_ / name); }
};

TEST_F(TrainCommand, EndsWithOneJsonObject) {
  const nlohmann::json json = train_json({"--run-dir", "run", "--validation", "40", "--seed", "5"});
  for (const char* key : {"model",
                          "device",
                          "seed",
                          "epochs",
                          "batch_size",
                          "train_seconds",
                          "ms_per_step",
                          "ms_per_step_median",
                          "images_per_second",
                          "test_accuracy",
                          "test_loss",
                          "checkpoint",
                          "parameters",
                          "weights_hash",
                          "quern_version",
                          "startup_seconds",
                          "peak_rss_mib",
                          "precision",
                          "best_epoch",
                          "on_nan",
                          "skipped_steps"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_EQ(json["model"], "small");
  EXPECT_EQ(json["device"], "cpu");
  EXPECT_EQ(json["seed"], 5);
  EXPECT_EQ(json["epochs"], 3);
  EXPECT_EQ(json["batch_size"], 16);
  EXPECT_EQ(json["steps"], 30);
  EXPECT_GT(json["test_accuracy"].get<double>(), 0.8);
  EXPECT_EQ(json["checkpoint"], "run/best.safetensors");
  EXPECT_EQ(json["interrupted"], false);
}

TEST_F(TrainCommand, LeavesARunFolder) {
  ASSERT_EQ(quern(train({"--validation", "40"})).status, 0);
  std::vector<std::filesystem::path> runs;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "runs"))
    runs.push_back(entry.path());
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_THAT(runs[0].filename().string(), testing::EndsWith("-small"));
  for (const char* name :
       {"config.json", "plan.json", "metrics.csv", "metrics.jsonl", "last.safetensors", "best.safetensors"})
    EXPECT_TRUE(std::filesystem::exists(runs[0] / name)) << name;
  const auto config = nlohmann::json::parse(test::read_text(runs[0] / "config.json"));
  EXPECT_EQ(config["command_line"][1], "train");
  EXPECT_EQ(config["model"]["recipe"]["epochs"], 3);
  EXPECT_EQ(config["run"]["validation"], 40);
  const std::string csv = test::read_text(runs[0] / "metrics.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 4);
}

TEST_F(TrainCommand, SkipsWhatIsNotFiniteButNotForEver) {
  const test::Outcome stopped = quern(train({"--lr", "1e30", "--run-dir", "stopped"}));
  EXPECT_EQ(stopped.status, 1);
  EXPECT_THAT(stopped.err, HasSubstr("written by"));
  const test::Outcome skipped = quern(train({"--lr", "1e30", "--on-nan", "skip", "--run-dir", "skipped"}));
  EXPECT_EQ(skipped.status, 1);
  EXPECT_THAT(skipped.out, HasSubstr("whose loss or gradients are not finite was skipped"));
  EXPECT_THAT(skipped.err, HasSubstr("10 steps in a row"));
  EXPECT_EQ(quern(train({"--on-nan", "shrug"})).status, 2);
  const nlohmann::json good = train_json({"--on-nan", "skip", "--run-dir", "good"});
  EXPECT_EQ(good["on_nan"], "skip");
  EXPECT_EQ(good["skipped_steps"], 0);
}

TEST_F(TrainCommand, NoSaveLeavesNothing) {
  const nlohmann::json json = train_json({"--no-save"});
  EXPECT_TRUE(json["checkpoint"].is_null());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
}

TEST_F(TrainCommand, PipedOutputIsPlainLines) {
  const test::Outcome outcome = quern(train({"--no-save"}));
  EXPECT_EQ(outcome.status, 0);
  EXPECT_TRUE(outcome.err.empty()) << outcome.err;
  for (const char character : outcome.out)
    EXPECT_TRUE(character == '\n' || static_cast<unsigned char>(character) >= 0x20)
        << static_cast<int>(character);
  EXPECT_THAT(outcome.out, HasSubstr("epoch 1/3"));
  EXPECT_THAT(outcome.out, HasSubstr("epoch 3/3"));
  EXPECT_THAT(outcome.out, HasSubstr("test accuracy"));
}

TEST_F(TrainCommand, QuietSaysNothingAndJsonKeepsStdoutToItself) {
  const test::Outcome quiet = quern(train({"--no-save", "--quiet"}));
  EXPECT_EQ(quiet.out + quiet.err, "");
  const test::Outcome json = quern(train({"--no-save", "--json"}));
  EXPECT_EQ(std::count(json.out.begin(), json.out.end(), '\n'), 1);
  EXPECT_THAT(json.err, HasSubstr("epoch 3/3"));
}

TEST_F(TrainCommand, SameCommandSameFileOtherSeedOtherFile) {
  const nlohmann::json a = train_json({"--run-dir", "a"}), b = train_json({"--run-dir", "b"}),
                       c = train_json({"--run-dir", "c", "--seed", "2"});
  EXPECT_EQ(a["weights_hash"], b["weights_hash"]);
  EXPECT_EQ(bytes("a/last.safetensors"), bytes("b/last.safetensors"));
  EXPECT_EQ(a["test_accuracy"], b["test_accuracy"]);
  EXPECT_NE(a["weights_hash"], c["weights_hash"]);
}

// Nothing is ever chosen by looking at the test set, not even with early stopping.
TEST_F(TrainCommand, TheTestSetCannotReachTheWeights) {
  const std::vector<std::string> flags{"--validation", "40", "--early-stop", "2",
                                       "--epochs",     "6",  "--run-dir"};
  const auto with = [&](const char* folder) {
    auto words = flags;
    words.emplace_back(folder);
    return train_json(words);
  };
  const nlohmann::json clean = with("clean");
  Split poisoned = test::small_images(60, 8);
  for (std::uint8_t& label : poisoned.labels) label = static_cast<std::uint8_t>(3 - label);
  for (std::uint8_t& pixel : poisoned.images) pixel ^= 0xFF;
  write_data(test::small_images(200), poisoned);
  const nlohmann::json spoiled = with("spoiled");
  EXPECT_NE(spoiled["test_accuracy"], clean["test_accuracy"]);
  EXPECT_EQ(bytes("spoiled/last.safetensors"), bytes("clean/last.safetensors"));
  EXPECT_EQ(bytes("spoiled/best.safetensors"), bytes("clean/best.safetensors"));
}

TEST_F(TrainCommand, RequiredAccuracyDecidesTheExitStatus) {
  EXPECT_EQ(quern(train({"--no-save", "--quiet", "--require-accuracy", "0.5"})).status, 0);
  EXPECT_EQ(quern(train({"--no-save", "--quiet", "--require-accuracy", "50"})).status, 0);
  const test::Outcome outcome =
      quern(train({"--no-save", "--json", "--epochs", "0", "--require-accuracy", "0.99"}));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("below the required 0.9900"));
  EXPECT_TRUE(last_line_json(outcome).contains("test_accuracy"));
}

TEST_F(TrainCommand, CheckedRunSaysSoAndGivesTheSameWeights) {
  const nlohmann::json plain = train_json({"--no-save"});
  const test::Outcome outcome = quern(train({"--check-every", "10", "--run-dir", "run"}));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("4 steps checked: every node is inside tolerance"));
  EXPECT_THAT(outcome.out, HasSubstr("conv.backward_weights"));
  const auto kept = nlohmann::json::parse(bytes("run/check.json"));
  EXPECT_EQ(kept["every"], 10);
  EXPECT_EQ(kept["steps"], 4);  // 0, 10, 20 and 30 of 39
  EXPECT_TRUE(kept["failure"].is_null());
  for (const auto& node : kept["nodes"]) {
    EXPECT_EQ(node["steps"], 4) << node;
    EXPECT_LE(node["worst"], 1) << node;
  }
  const nlohmann::json checked = train_json({"--no-save", "--check-every", "10"});
  EXPECT_EQ(checked["weights_hash"], plain["weights_hash"]);
  EXPECT_EQ(checked["check"]["steps"], 4);
}

TEST_F(TrainCommand, FlagsOverrideTheRecipe) {
  ASSERT_EQ(quern(train({"--run-dir",
                         "run",
                         "--epochs",
                         "2",
                         "--batch",
                         "20",
                         "--optimizer",
                         "nesterov",
                         "--lr",
                         "0.05",
                         "--schedule",
                         "step",
                         "--milestones",
                         "1,2",
                         "--gamma",
                         "0.5",
                         "--momentum",
                         "0.8",
                         "--ema",
                         "0.5",
                         "--weight-decay",
                         "0.001",
                         "--clip-norm",
                         "2",
                         "--label-smoothing",
                         "0.1",
                         "--augment-shift",
                         "1",
                         "--warmup",
                         "0.5"}))
                .status,
            0);
  const auto config = nlohmann::json::parse(bytes("run/config.json"));
  const nlohmann::json& recipe = config["model"]["recipe"];
  EXPECT_EQ(recipe["epochs"], 2);
  EXPECT_EQ(recipe["batch_size"], 20);
  EXPECT_EQ(recipe["optimizer"], "nesterov");
  EXPECT_EQ(recipe["learning_rate"], 0.05);
  EXPECT_EQ(recipe["schedule"]["kind"], "step");
  EXPECT_EQ(recipe["schedule"]["milestones"], nlohmann::json({1, 2}));
  EXPECT_EQ(recipe["ema_decay"], 0.5);
  EXPECT_EQ(recipe["augment"]["shift"], 1.0);
}

TEST_F(TrainCommand, RefusesBadInput) {
  expect_bad_usage(train({"--batch", "0"}), {"--batch 0", "at least 1"});
  expect_bad_usage(train({"--batch", "-3"}), {"--batch -3", "at least 1"});
  expect_bad_usage(train({"--batch", "201"}), {"batch size 201 is above the 200 training images"});
  expect_bad_usage(train({"--batch", "many"}), {"--batch", "many"});
  expect_bad_usage(train({"--lr", "nan"}), {"--lr"});
  expect_bad_usage(train({"--seed", "-1"}), {"--seed -1"});
  expect_bad_usage(train({"--check-every", "0"}), {"--check-every 0", "at least 1"});
  expect_bad_usage(train({"--optimizer", "adm"}), {"adm", "did you mean 'adam'"});
  expect_bad_usage(train({"--schedule", "cosin"}), {"cosin", "did you mean 'cosine'"});
  expect_bad_usage(train({"--early-stop", "3"}), {"--early-stop", "--validation"});
  expect_bad_usage(train({"--validation", "200"}), {"--validation 200"});
  expect_bad_usage(train({"--device", "gpu"}), {"gpu", "cuda"});
  expect_bad_usage(train({"--impl", "conv2d.forward=cudnnn"}), {"cudnnn"});
  expect_bad_usage(train({"--precision", "fp8"}), {"fp8"});
  expect_bad_usage(train({"--require-accuracy", "101"}), {"--require-accuracy"});
  expect_bad_usage(train({"--no-save", "--run-dir", "x"}), {"--no-save"});
  expect_bad_usage(train({"--no-such-flag"}), {"--no-such-flag", "quern train --help"});
  expect_bad_usage({"train", "--model", "seed-bm"}, {"seed-bm", "did you mean 'seed-bn'"});
  expect_bad_usage({"train", "--data", "nowhere"}, {"nowhere"});
  expect_bad_usage({"trian"}, {"trian", "did you mean 'train'"});
  expect_bad_usage({}, {"quern --help"});
}

TEST_F(TrainCommand, RefusesBadSpecs) {
  const auto bad_spec = [&](const std::string& layers, const std::vector<std::string>& parts) {
    std::ofstream(folder_ / "bad.json")
        << R"({"name": "bad", "input": {"shape": [8, 8, 1]}, "layers": )" << layers << "}";
    expect_bad_usage({"train", "--model", "bad.json", "--data", "data"}, parts);
  };
  bad_spec(
      R"([{"name": "a", "op": "add", "inputs": ["input", "b"]}, {"name": "b", "op": "relu", "inputs": ["a"]},
              {"name": "f", "op": "flatten", "inputs": ["b"]}, {"name": "l", "op": "dense", "units": 4}])",
      {"bad.json", "cycle"});
  bad_spec(R"([{"name": "a", "op": "conv3d"}])", {"bad.json", "conv3d", "did you mean 'conv2d'"});
  bad_spec(R"([{"name": "a", "op": "maxpool2d", "kernel": 9}, {"name": "f", "op": "flatten"},
              {"name": "l", "op": "dense", "units": 4}])",
           {"bad.json", "a"});
  bad_spec("[", {"bad.json"});
  bad_spec(R"([{"name": "f", "op": "flatten"}, {"name": "l", "op": "dense", "units": 3}])",
           {"label 3", "3 classes"});
  expect_bad_usage({"train", "--model", "seed", "--data", "data"}, {"8x8x1", "28x28x1"});
}

TEST_F(TrainCommand, RefusesARunFolderThatIsTaken) {
  ASSERT_EQ(quern(train({"--run-dir", "run", "--epochs", "1"})).status, 0);
  expect_bad_usage(train({"--run-dir", "run"}), {"already holds a run", "--resume"});
}

// A signal ends the run between two steps; going on gives the bytes of a run that was never stopped.
TEST_F(TrainCommand, InterruptedAndResumedEqualsUninterrupted) {
  const std::vector<std::string> flags{"--batch", "1", "--epochs", "40", "--validation", "20"};
  auto whole = flags, cut = flags;
  whole.insert(whole.end(), {"--run-dir", "whole"});
  cut.insert(cut.end(), {"--run-dir", "cut", "--json"});
  const nlohmann::json uninterrupted = train_json(whole);

  test::Process process(train(cut), folder_.path());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!std::filesystem::exists(folder_ / "cut/metrics.jsonl") && process.running() &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  process.signal(SIGINT);
  const test::Outcome outcome = process.wait();
  EXPECT_EQ(outcome.status, 130) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("quern train --resume cut"));
  const nlohmann::json interrupted = last_line_json(outcome);
  EXPECT_EQ(interrupted["interrupted"], true);
  EXPECT_TRUE(interrupted["test_accuracy"].is_null());
  EXPECT_LT(interrupted["epochs_done"], 40);

  const test::Outcome resumed = quern({"train", "--resume", "cut", "--json"});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  const nlohmann::json json = last_line_json(resumed);
  EXPECT_EQ(json["weights_hash"], uninterrupted["weights_hash"]);
  EXPECT_EQ(json["test_accuracy"], uninterrupted["test_accuracy"]);
  EXPECT_EQ(json["best_epoch"], uninterrupted["best_epoch"]);
  EXPECT_EQ(bytes("cut/last.safetensors"), bytes("whole/last.safetensors"));
  EXPECT_EQ(bytes("cut/best.safetensors"), bytes("whole/best.safetensors"));
  const std::string rows = bytes("cut/metrics.jsonl");
  EXPECT_EQ(std::count(rows.begin(), rows.end(), '\n'), 40);
}

class ResumeCommand : public TrainCommand {
 protected:
  ResumeCommand() { EXPECT_EQ(quern(train({"--run-dir", "run", "--epochs", "2", "--seed", "3"})).status, 0); }
};

TEST_F(ResumeCommand, FinishedRunHasNothingToDo) {
  const test::Outcome outcome = quern({"train", "--resume", "run", "--json"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(last_line_json(outcome)["epochs_done"], 2);
}

TEST_F(ResumeCommand, RefusesFlagsThatChangeTheNumbers) {
  const auto refused = [&](const std::string& flag, const std::string& value) {
    expect_bad_usage({"train", "--resume", "run", flag, value}, {flag});
  };
  refused("--batch", "8");
  refused("--seed", "4");
  refused("--model", "seed");
  refused("--lr", "0.5");
  refused("--optimizer", "sgd");
  refused("--schedule", "constant");
  refused("--validation", "10");
  refused("--limit-train", "100");
  refused("--augment-shift", "2");
  refused("--epochs", "5");  // its cosine schedule depends on them
}

TEST_F(ResumeCommand, OtherThreadsAreNoted) {
  const test::Outcome same = quern({"train", "--resume", "run", "--threads", "2", "--no-save"});
  EXPECT_THAT(same.out, Not(HasSubstr("note:")));
  const test::Outcome other = quern({"train", "--resume", "run", "--threads", "1", "--no-save"});
  EXPECT_EQ(other.status, 0) << other.err;
  EXPECT_THAT(other.out, HasSubstr("not bit for bit"));
}

TEST_F(ResumeCommand, TheSameFlagsAgainAreFine) {
  EXPECT_EQ(
      quern({"train", "--resume", "run", "--batch", "16", "--seed", "3", "--model", "small.json", "--quiet"})
          .status,
      0);
}

TEST_F(ResumeCommand, RefusesCheckpointsThatAreNone) {
  expect_bad_usage({"train", "--resume", "nowhere"}, {"nowhere"});
  expect_bad_usage({"train", "--resume", "data"}, {"data", "last.safetensors"});
  expect_bad_usage({"train", "--resume", "small.json"}, {"small.json"});
  std::filesystem::resize_file(folder_ / "run/last.safetensors", 2000);
  expect_bad_usage({"train", "--resume", "run"}, {"run/last.safetensors"});
}

TEST_F(ResumeCommand, RefusesAnotherTrainingSet) {
  write_data(test::small_images(180), test::small_images(60, 8));
  expect_bad_usage({"train", "--resume", "run"}, {"training set", "--data"});
}

TEST_F(TrainCommand, ConstantRateRunCanBeMadeLonger) {
  const nlohmann::json four = train_json({"--run-dir", "four", "--schedule", "constant", "--epochs", "4"});
  train_json({"--run-dir", "two", "--schedule", "constant", "--epochs", "2"});
  const test::Outcome outcome = quern({"train", "--resume", "two", "--epochs", "4", "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(last_line_json(outcome)["weights_hash"], four["weights_hash"]);
  EXPECT_EQ(bytes("two/last.safetensors"), bytes("four/last.safetensors"));
}

// With lr * decay = 3 every step doubles the weights, until they overflow some epochs later.
TEST_F(TrainCommand, DivergenceIsReportedAndTheLastCheckpointKept) {
  const test::Outcome outcome =
      quern(train({"--optimizer", "sgd", "--lr", "0.1", "--weight-decay", "30", "--schedule", "constant",
                   "--epochs", "60", "--run-dir", "run", "--json"}));
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("the loss is not finite"));
  const std::string rows = bytes("run/metrics.jsonl");
  const auto epochs = std::count(rows.begin(), rows.end(), '\n');
  EXPECT_GT(epochs, 1);
  EXPECT_THAT(outcome.err, HasSubstr(fmt::format("epoch {}, step", epochs + 1)));
  EXPECT_THAT(outcome.err, HasSubstr("the first value that is not finite was"));
  EXPECT_EQ(quern({"eval", "run", "--quiet"}).status, 0);
}

}  // namespace
}  // namespace quern
