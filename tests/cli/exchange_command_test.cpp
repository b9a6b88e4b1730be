#include <algorithm>
#include <cstring>

#include "quern/safetensors.hpp"
#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

using testing::HasSubstr;

class Exchange : public test::Cli {
 protected:
  Exchange() { trained_ = train_json({"--run-dir", "runs/first"}); }
  nlohmann::json trained_;
};

TEST_F(Exchange, WeightsGoOutAndComeBackTheSame) {
  const test::Outcome outcome =
      quern({"export", "runs/first", "--onnx", "m.onnx", "--torch", "m.torch", "--keras", "m.keras"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("m.keras"));
  // The norm stands before the dense layer, which takes it in.
  EXPECT_THAT(test::read_text(folder_ / "m.onnx"), testing::Not(HasSubstr("BatchNormalization")));
  for (const char* file : {"m.torch", "m.keras"}) {
    const nlohmann::json imported =
        last_line_json(quern({"import", file, "--model", "small.json", "--data", "data", "-o",
                              "back.safetensors", "--device", "cpu", "--epochs", "1", "--json"}));
    EXPECT_EQ(imported["weights_hash"], trained_["weights_hash"]);
    const nlohmann::json judged =
        last_line_json(quern({"eval", "back.safetensors", "--device", "cpu", "--json"}));
    EXPECT_EQ(judged["accuracy"], trained_["test_accuracy"]);
    EXPECT_EQ(judged["loss"], trained_["test_loss"]);
  }
  // And it trains on, for the epoch that the import asked for.
  const nlohmann::json more =
      last_line_json(quern({"train", "--resume", "back.safetensors", "--run-dir", "runs/second", "--json"}));
  EXPECT_EQ(more["epochs_done"], 1);
  EXPECT_NE(more["weights_hash"], trained_["weights_hash"]);
}

TEST_F(Exchange, EvalWritesLogits) {
  const nlohmann::json json = last_line_json(
      quern({"eval", "runs/first", "--logits", "logits.safetensors", "--device", "cpu", "--json"}));
  const SafetensorsFile file = SafetensorsFile::load(folder_ / "logits.safetensors");
  EXPECT_THAT(file.at("logits").shape, testing::ElementsAre(60, 4));
  std::int64_t correct = 0;
  std::vector<float> logits(240);
  std::memcpy(logits.data(), file.at("logits").bytes.data(), 960);
  for (std::size_t i = 0; i < 60; ++i) {
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>(4 * i);
    correct += std::max_element(row, row + 4) - row == static_cast<int>(file.at("labels").bytes[i]);
  }
  EXPECT_EQ(correct, json["correct"]);
}

TEST_F(Exchange, RefusesWhatMakesNoSense) {
  expect_bad_usage({"export", "runs/first"}, {"--onnx"});
  expect_bad_usage({"export", "nowhere", "--onnx", "m.onnx"}, {"nowhere"});
  expect_bad_usage({"export", "runs/first", "--torch", "m.torch", "--keep-bn"}, {"--keep-bn", "--onnx"});
  ASSERT_EQ(quern({"export", "runs/first", "--torch", "m.torch"}).status, 0);
  expect_bad_usage({"import", "m.torch", "--model", "mlp", "-o", "x"}, {"m.torch", "lacks", "--rename"});
  expect_bad_usage({"import", "m.torch", "--model", "small.json", "-o", "x", "--layout", "tf"},
                   {"--layout tf"});
  expect_bad_usage({"import", "m.torch", "--model", "small.json", "-o", "x", "--rename", "a"}, {"OLD=NEW"});
  expect_bad_usage({"import", "small.json", "--model", "small.json", "-o", "x"}, {"small.json"});
}

}  // namespace
}  // namespace quern
