#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "quern/error.hpp"
#include "quern/file.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using namespace test;
using testing::HasSubstr;

constexpr const char* kRecipe =
    R"({"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "ema_decay": 0.9, "schedule": {"kind": "cosine"},
        "augment": {"shift": 1}})";

std::vector<std::byte> file_bytes(const std::filesystem::path& path) {
  return read_file(path, 1 << 24);
}

// 100 images less 20 held out: 5 steps an epoch, 15 in all.
RunSettings settings() {
  RunSettings settings;
  settings.seed = 11;
  settings.validation = 20;
  return settings;
}

TEST(Resume, GivesTheSameFileWhereverTheRunWasCut) {
  const Split data = small_images(100);
  const TemporaryFolder folder;
  SmallRun whole(small_model(kRecipe), data, settings());
  Recorder whole_epochs;
  whole.train(whole_epochs);
  save_checkpoint(folder / "whole.safetensors", whole.trainer.checkpoint());

  for (const std::int64_t cut : {0, 1, 4, 5, 6, 12, 14}) {
    {
      SmallRun first(small_model(kRecipe), data, settings());
      Recorder recorder(cut);
      ASSERT_EQ(first.train(recorder), StopReason::requested) << cut;
      EXPECT_EQ(first.trainer.state().step, cut);
      save_checkpoint(folder / "cut.safetensors", first.trainer.checkpoint());
    }
    const Checkpoint checkpoint = load_checkpoint(folder / "cut.safetensors");
    SmallRun second(checkpoint.spec, data, checkpoint.run);
    second.trainer.restore(checkpoint);
    Recorder recorder;
    EXPECT_EQ(second.train(recorder), StopReason::finished);
    save_checkpoint(folder / "resumed.safetensors", second.trainer.checkpoint());
    EXPECT_EQ(file_bytes(folder / "resumed.safetensors"), file_bytes(folder / "whole.safetensors"))
        << "cut at " << cut;
    // The epoch that was cut reports what the uninterrupted one did.
    const EpochResult& resumed = recorder.epochs.front();
    const EpochResult& uncut = whole_epochs.epochs[static_cast<std::size_t>(resumed.epoch) - 1];
    EXPECT_EQ(resumed.epoch, cut / 5 + 1);
    EXPECT_EQ(resumed.train_loss, uncut.train_loss);
    EXPECT_EQ(resumed.train_accuracy, uncut.train_accuracy);
    EXPECT_EQ(resumed.validation_loss, uncut.validation_loss);
  }
}

TEST(Resume, RestoresInThisProcessToo) {
  const Split data = small_images(100);
  SmallRun run(small_model(kRecipe), data, settings());
  Recorder recorder(7);
  run.train(recorder);
  const Checkpoint checkpoint = run.trainer.checkpoint();
  run.train();
  const std::string once = run.hash();
  run.trainer.restore(checkpoint);
  run.train();
  EXPECT_EQ(run.hash(), once);
}

TEST(Resume, RefusesAnotherTrainingSet) {
  Split data = small_images(100);
  SmallRun run(small_model(kRecipe), data, settings());
  const Checkpoint checkpoint = run.trainer.checkpoint();
  std::swap(data.labels[0], data.labels[1]);
  SmallRun other(small_model(kRecipe), data, settings());
  try {
    other.trainer.restore(checkpoint);
    FAIL() << "restored";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_THAT(error.what(), HasSubstr("not the one the checkpoint was trained on"));
  }
}

TEST(Resume, RefusesAPositionOutsideTheRun) {
  const Split data = small_images(100);
  SmallRun run(small_model(kRecipe), data, settings());
  const Checkpoint good = run.trainer.checkpoint();
  const auto refused = [&](std::int64_t step, std::int64_t epoch, std::int64_t step_in_epoch) {
    Checkpoint bad = good;
    bad.state.step = step;
    bad.state.epoch = epoch;
    bad.state.step_in_epoch = step_in_epoch;
    EXPECT_THROW(run.trainer.restore(bad), Error) << step << " " << epoch << " " << step_in_epoch;
  };
  refused(5, 0, 5);
  refused(3, 0, 2);
  refused(20, 4, 0);
  refused(16, 3, 1);
}

TEST(WeightsHash, SeesEveryWeightAndNoPadding) {
  const ModelSpec spec = small_model();
  const WeightLayout layout = weight_layout(spec);
  std::vector<float> weights(static_cast<std::size_t>(layout.total_elements));
  initialize_weights(layout, 1, weights);
  const std::string hash = weights_hash(layout, weights);
  EXPECT_EQ(hash.size(), 16u);
  const WeightTensor& last = layout.tensors.back();
  const std::size_t end = static_cast<std::size_t>(last.offset + last.shape.elements());
  weights[end - 1] += 1;
  EXPECT_NE(weights_hash(layout, weights), hash);
  weights[end - 1] -= 1;
  EXPECT_EQ(weights_hash(layout, weights), hash);
  const WeightTensor& bias = layout.find("conv.bias");
  ASSERT_LT(bias.shape.elements(), 64);
  weights[static_cast<std::size_t>(bias.offset + bias.shape.elements())] = 1;
  EXPECT_EQ(weights_hash(layout, weights), hash);
}

}  // namespace
}  // namespace quern
