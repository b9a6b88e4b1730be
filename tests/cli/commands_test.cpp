#include "quern/image.hpp"
#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

using testing::HasSubstr;
using testing::Not;
using Commands = test::Cli;

/// Whether this build finds a GPU here, and whether it looks for one.
class GpuAbsence : public test::Cli {
 protected:
  bool gpu_found() {
    const nlohmann::json json = last_line_json(quern({"info", "--json"}));
    for (const nlohmann::json& device : json["devices"])
      if (device["device"] == "cuda:0") return device["found"].get<bool>();
    return false;
  }
};

TEST_F(GpuAbsence, EndsARunThatAskedForAGpuWithThree) {
  if (gpu_found()) GTEST_SKIP() << "there is a GPU";
  for (const char* device : {"cuda", "cuda:1"}) {
    const auto outcome = quern(train({"--device", device, "--epochs", "1", "--no-save"}));
    EXPECT_EQ(outcome.status, 3) << outcome.out << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("--device cpu"));
  }
}

TEST_F(GpuAbsence, IsTakenForTheCpuUnderAutoAndSaidInOneLine) {
  if (gpu_found()) GTEST_SKIP() << "there is a GPU";
  const auto outcome = quern(train({"--device", "auto", "--epochs", "1", "--no-save"}));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("on cpu"));
#ifdef QUERN_HAVE_CUDA
  EXPECT_THAT(outcome.out, HasSubstr("note: this machine has no NVIDIA"));
  EXPECT_THAT(outcome.out, HasSubstr(": computing on the CPU\n"));
#else
  EXPECT_THAT(outcome.out, Not(HasSubstr("note: ")));
#endif
}

TEST_F(Commands, GraphFlagsAreChecked) {
  expect_bad_usage(train({"--graph", "sometimes"}), {"--graph sometimes", "auto, loop, unrolled, off"});
  expect_bad_usage(train({"--graph", "loop", "--no-graph"}), {"contradict"});
  expect_bad_usage(train({"--profile-steps", "12"}), {"--profile-steps 12", "200:210"});
  expect_bad_usage(train({"--profile-steps", "5:99999", "--no-save"}), {"--profile-steps 5:99999"});
}

TEST_F(Commands, HelpAndVersion) {
  const test::Outcome help = quern({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* name : {"train", "eval", "predict", "info", "models"})
    EXPECT_THAT(help.out, HasSubstr(name));
  for (const char* name : {"train", "eval", "predict", "info", "models"})
    EXPECT_EQ(quern({name, "--help"}).status, 0);
  EXPECT_THAT(quern({"--version"}).out, testing::StartsWith("quern 0."));
}

TEST_F(Commands, ModelsListsThePresets) {
  const test::Outcome outcome = quern({"models"});
  EXPECT_EQ(outcome.status, 0);
  for (const char* name : {"seed", "seed-bn", "mlp", "lenet5", "resnet-tiny", "fast", "best", "fashion"})
    EXPECT_THAT(outcome.out, HasSubstr(name));
  EXPECT_EQ(last_line_json(quern({"models", "--json"}))["models"].size(), 8u);
}

// By hand: 3*3*32+32, 3*3*32*64+64, 3136*128+128, 128*10+10.
TEST_F(Commands, ModelsSummarisesTheSeedNet) {
  const test::Outcome outcome = quern({"models", "seed"});
  EXPECT_EQ(outcome.status, 0);
  for (const char* part : {"28x28x32", "14x14x64", "7x7x64", "18,496", "401,536", "1,290", "421,642"})
    EXPECT_THAT(outcome.out, HasSubstr(part));
  const nlohmann::json json = last_line_json(quern({"models", "seed", "--json"}));
  EXPECT_EQ(json["parameters"], 320 + 18496 + 401536 + 1290);
  EXPECT_EQ(json["state"], 0);
  EXPECT_EQ(json["layers"].size(), 10u);
}

TEST_F(Commands, PresetsHaveTheParametersTheyShould) {
  const auto of = [&](const char* name) { return last_line_json(quern({"models", name, "--json"})); };
  EXPECT_EQ(of("seed-bn")["parameters"], 421642 + 2 * (32 + 64 + 128));
  EXPECT_EQ(of("seed-bn")["state"], 2 * (32 + 64 + 128));
  EXPECT_EQ(of("mlp")["parameters"], 784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10);
  EXPECT_EQ(of("lenet5")["parameters"], 61706);  // LeNet-5 with full connections between its convolutions
  EXPECT_LT(of("resnet-tiny")["parameters"], 200000);
  for (const char* name : {"seed", "seed-bn", "mlp", "lenet5", "resnet-tiny"}) {
    const nlohmann::json recipe = of(name)["recipe"];
    EXPECT_EQ(recipe["epochs"], 5) << name;
    EXPECT_EQ(recipe["batch_size"], 64) << name;
    EXPECT_EQ(recipe["optimizer"], "adam") << name;
    EXPECT_EQ(recipe["augment"]["shift"], 0) << name;
  }
}

TEST_F(Commands, ModelsTellsWhatARecipeSetsAndNothingElse) {
  const std::string best = quern({"models", "best"}).out;
  EXPECT_THAT(best, HasSubstr("recipe: 15 epochs, batch 64, adam, learning rate 0.002 (one_cycle)\n"
                              "regularisation: label smoothing 0.1\n"
                              "augmentation: shift 2, rotate 12, scale 0.1, shear 6\n"));
  EXPECT_THAT(quern({"models", "fashion"}).out, HasSubstr("augmentation: crop 2, flip 0.5, erase "));
  const std::string seed = quern({"models", "seed"}).out;
  for (const char* word : {"regularisation", "augmentation"}) EXPECT_THAT(seed, Not(HasSubstr(word)));
}

TEST_F(Commands, ModelsRefusesUnknownNames) {
  expect_bad_usage({"models", "lenet"}, {"lenet", "did you mean 'lenet5'"});
}

TEST_F(Commands, InfoShowsDevicesAndProviders) {
  const test::Outcome outcome = quern({"info"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, HasSubstr("reference"));
  const nlohmann::json json = last_line_json(quern({"info", "--json"}));
  EXPECT_EQ(json["devices"][0]["device"], "cpu");
  EXPECT_EQ(json["devices"][0]["found"], true);
}

TEST_F(Commands, InfoShowsAPlan) {
  const test::Outcome outcome =
      quern({"info", "--plan", "--model", "small.json", "--batch", "4", "--device", "cpu"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("optimizer.forward"));
  const nlohmann::json json = last_line_json(quern({"info", "--plan", "--model", "small.json", "--eval",
                                                    "--impl", "reference", "--device", "cpu", "--json"}));
  EXPECT_EQ(json["training"], false);
  for (const auto& node : json["nodes"]) {
    EXPECT_NE(node["op"], "optimizer.forward");
    EXPECT_THAT(node["implementation"].get<std::string>(), testing::StartsWith("reference:"));
  }
  const nlohmann::json forced = last_line_json(
      quern({"info", "--plan", "--model", "small.json", "--impl", "conv2d=reference,metrics=reference",
             "--impl", "dense.forward=reference", "--device", "cpu", "--json"}));
  for (const auto& node : forced["nodes"]) {
    const std::string op = node["op"];
    const bool chosen = op.starts_with("conv2d.") || op == "metrics.forward" || op == "dense.forward";
    EXPECT_TRUE(!chosen || node["implementation"].get<std::string>().starts_with("reference:")) << op;
  }
  expect_bad_usage({"info", "--model", "small.json"}, {"--plan"});
  expect_bad_usage({"info", "--plan", "--assume", "sm_91"}, {"sm_91", "did you mean 'sm_90'"});
  expect_bad_usage({"info", "--plan", "--batch", "0"}, {"--batch 0"});
}

TEST_F(Commands, ChoosesImplementationsByTime) {
  setenv("XDG_CACHE_HOME", (folder_.path() / "cache").c_str(), 1);
  const std::vector<std::string> plan = {"info",     "--plan", "--model", "small.json",
                                         "--device", "cpu",    "--impl",  "auto"};
  const test::Outcome first = quern(plan);
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("timed: "));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "cache/quern/times.json"));
  EXPECT_EQ(quern(plan).out, first.out);  // measured once
  const test::Outcome training = quern({"train", "--model", "small.json", "--data", "data", "--epochs", "1",
                                        "--device", "cpu", "--impl", "auto", "--no-save"});
  EXPECT_EQ(training.status, 0) << training.err;
#ifdef QUERN_HAVE_CUDA  // another build has no kernels to choose among for that GPU
  expect_bad_usage({"info", "--plan", "--assume", "sm_90", "--impl", "auto"}, {"auto"});
#endif
  unsetenv("XDG_CACHE_HOME");
}

class TrainedModel : public test::Cli {
 protected:
  TrainedModel() { trained_ = train_json({"--run-dir", "runs/first", "--ema", "0.8"}); }
  nlohmann::json trained_;
};

TEST_F(TrainedModel, EvalRepeatsTheTestAccuracy) {
  for (const char* name : {"runs/first", "runs/first/last.safetensors"}) {
    const nlohmann::json json = last_line_json(quern({"eval", name, "--device", "cpu", "--json"}));
    EXPECT_EQ(json["accuracy"], trained_["test_accuracy"]);
    EXPECT_EQ(json["loss"], trained_["test_loss"]);
    EXPECT_EQ(json["images"], 60);
    std::int64_t sum = 0, diagonal = 0;
    for (std::size_t row = 0; row < 4; ++row)
      for (std::size_t column = 0; column < 4; ++column) {
        const auto count = json["confusion_matrix"][row][column].get<std::int64_t>();
        sum += count;
        if (row == column) diagonal += count;
      }
    EXPECT_EQ(sum, 60);
    EXPECT_EQ(diagonal, json["correct"]);
    EXPECT_EQ(json["classes"][1]["class"], "north-east");
    EXPECT_EQ(json["classes"][1]["images"], 15);
  }
  const test::Outcome outcome = quern({"eval", "runs/first"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, HasSubstr("south-west"));
}

TEST_F(TrainedModel, EvalRefusesWhatIsNoCheckpoint) {
  expect_bad_usage({"eval", "small.json"}, {"small.json"});
  expect_bad_usage({"eval"}, {"checkpoint"});
  expect_bad_usage({"eval", "runs/first", "--data", "nowhere"}, {"nowhere"});
}

TEST_F(TrainedModel, PredictNamesTheClassOfTestImagesAndFiles) {
  // An image of the model's size on a dark ground is taken as it is.
  GrayImage image;
  image.width = image.height = 8;
  image.pixels.assign(64, 0);
  for (std::size_t row = 4; row < 7; ++row)
    for (std::size_t column = 1; column < 4; ++column) image.pixels[row * 8 + column] = 200;
  write_png(folder_ / "south-west.png", image);
  const test::Outcome outcome = quern({"predict", "south-west.png", "#5", "test:6", "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const nlohmann::json json = last_line_json(outcome);
  EXPECT_EQ(json["checkpoint"], "runs/first/best.safetensors");
  const nlohmann::json& predictions = json["predictions"];
  ASSERT_EQ(predictions.size(), 3u);
  EXPECT_EQ(predictions[0]["class"], "south-west");
  EXPECT_FALSE(predictions[0].contains("label"));
  EXPECT_EQ(predictions[1]["label"], 1);
  EXPECT_EQ(predictions[2]["label"], 2);
  double sum = 0;
  for (const auto& probability : predictions[1]["probabilities"]) sum += probability.get<double>();
  EXPECT_NEAR(sum, 1, 1e-6);
  const test::Outcome table = quern({"predict", "--checkpoint", "runs/first", "south-west.png"});
  EXPECT_EQ(table.status, 0);
  EXPECT_THAT(table.out, HasSubstr("south-west.png"));
}

TEST_F(TrainedModel, PredictRefusesWhatIsNoImage) {
  std::ofstream(folder_ / "not.png") << "this is no picture";
  expect_bad_usage({"predict", "not.png"}, {"not.png"});
  std::ofstream(folder_ / "cut.png", std::ios::binary) << "\x89PNG\r\n\x1a\n";
  expect_bad_usage({"predict", "cut.png"}, {"cut.png"});
  expect_bad_usage({"predict", "missing.png"}, {"missing.png"});
  expect_bad_usage({"predict", "#60"}, {"#60", "60 images"});
  expect_bad_usage({"predict", "#x"}, {"#x"});
  expect_bad_usage({"predict"}, {"image"});
}

TEST_F(Commands, PredictWithoutARunSaysHowToGetOne) {
  expect_bad_usage({"predict", "#1"}, {"quern train"});
}

TEST_F(Commands, FullDiskBehindStdoutIsAnError) {
  const std::string command = std::string(QUERN_BINARY) + " models > /dev/full 2> /dev/null";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 3);
}

// The real data, in a real net, for a few steps.
TEST_F(Commands, TrainsOnMnist) {
  const nlohmann::json json = last_line_json(
      quern({"train", "--model", "mlp", "--data", QUERN_SOURCE_DIR "/data/mnist", "--limit-train", "2000",
             "--limit-test", "500", "--epochs", "1", "--device", "cpu", "--no-save", "--json"}));
  EXPECT_GT(json["test_accuracy"].get<double>(), 0.75);
}

}  // namespace
}  // namespace quern
