#include "quern/checkpoint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "quern/error.hpp"
#include "quern/file.hpp"
#include "quern/safetensors.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;

class CheckpointFile : public testing::Test {
 protected:
  CheckpointFile() {
    const Split data = small_images(64);
    SmallRun run(small_model(R"({"epochs": 1, "batch_size": 16, "ema_decay": 0.5})"), data);
    run.train();
    saved_ = run.trainer.checkpoint();
    saved_.run.class_names = {"a", "b", "c", "d"};
    save_checkpoint(path_, saved_);
  }

  /// The file with its tensors and metadata changed.
  void rewrite(const std::function<void(std::vector<TensorToStore>&, StringMap&)>& change) {
    const SafetensorsFile file = SafetensorsFile::load(path_);
    std::vector<TensorToStore> tensors;
    for (const auto& [name, tensor] : file.tensors())
      tensors.push_back({name, tensor.dtype, tensor.shape, tensor.bytes});
    StringMap metadata(file.metadata().begin(), file.metadata().end());
    change(tensors, metadata);
    write_safetensors(path_, tensors, metadata);
  }
  void expect_refused(const testing::Matcher<std::string>& matcher) {
    try {
      load_checkpoint(path_);
      ADD_FAILURE() << "loaded";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_THAT(std::string(error.what()), AllOf(matcher, HasSubstr("run.safetensors"))) << error.what();
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
  }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "run.safetensors";
  Checkpoint saved_;
};

TEST_F(CheckpointFile, ComesBackAsItWas) {
  const Checkpoint loaded = load_checkpoint(path_);
  EXPECT_EQ(loaded.spec, saved_.spec);
  EXPECT_EQ(loaded.weights, saved_.weights);
  EXPECT_EQ(loaded.slot1, saved_.slot1);
  EXPECT_EQ(loaded.slot2, saved_.slot2);
  EXPECT_EQ(loaded.ema, saved_.ema);
  EXPECT_EQ(loaded.run.fingerprint, saved_.run.fingerprint);
  EXPECT_EQ(loaded.run.class_names, saved_.run.class_names);
  EXPECT_EQ(loaded.run.threads, 2);
  EXPECT_EQ(loaded.state.epoch, 1);
  EXPECT_EQ(loaded.state.step, 4);
  save_checkpoint(folder_ / "again.safetensors", loaded);
  EXPECT_EQ(read_file(folder_ / "again.safetensors", 1 << 24), read_file(path_, 1 << 24));
}

TEST_F(CheckpointFile, NamesItsTensorsAfterTheLayers) {
  const SafetensorsFile file = SafetensorsFile::load(path_);
  EXPECT_EQ(file.at("model/conv.weight").shape, (std::vector<std::int64_t>{4, 3, 3, 1}));
  EXPECT_EQ(file.at("model/bn.running_var").shape, (std::vector<std::int64_t>{4}));
  EXPECT_EQ(file.at("optimizer.slot2/logits.weight").shape, (std::vector<std::int64_t>{4, 64}));
  EXPECT_EQ(file.at("ema/bn.gamma").shape, (std::vector<std::int64_t>{4}));
  EXPECT_FALSE(file.tensors().contains("optimizer.slot1/bn.running_mean"));
}

TEST_F(CheckpointFile, KeepsSeedsOf64BitsAndUnusualNumbers) {
  saved_.run.seed = 0xFFFFFFFFFFFFFFFFu;
  saved_.state.sums.loss_sum = 0.1 + 0.2;
  saved_.state.lowest_loss = 1.0 / 3;
  saved_.spec.recipe.learning_rate = 0.1f / 3;
  save_checkpoint(path_, saved_);
  const Checkpoint loaded = load_checkpoint(path_);
  EXPECT_EQ(loaded.run.seed, saved_.run.seed);
  EXPECT_EQ(loaded.state.sums.loss_sum, saved_.state.sums.loss_sum);
  EXPECT_EQ(loaded.state.lowest_loss, saved_.state.lowest_loss);
  EXPECT_EQ(loaded.spec.recipe.learning_rate, saved_.spec.recipe.learning_rate);
}

TEST_F(CheckpointFile, RefusesAFileThatIsCutShort) {
  const auto size = std::filesystem::file_size(path_);
  for (const std::uintmax_t left :
       {size - 1, size / 2, std::uintmax_t{100}, std::uintmax_t{4}, std::uintmax_t{0}}) {
    std::filesystem::resize_file(path_, left);
    expect_refused(testing::_);
  }
}

TEST_F(CheckpointFile, RefusesOverlappingTensors) {
  // By hand: the writer does not write such files.
  const std::string header =
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})";
  std::ofstream file(path_, std::ios::binary | std::ios::trunc);
  const std::uint64_t length = header.size();
  file.write(reinterpret_cast<const char*>(&length), 8);
  file << header << std::string(12, '\0');
  file.close();
  expect_refused(HasSubstr("tensor 'b' begins at 4, inside the tensor before it"));
}

TEST_F(CheckpointFile, RefusesTensorsOfAnotherModel) {
  const std::vector<float> zeros(1000);
  rewrite([&](auto& tensors, auto&) {
    for (TensorToStore& tensor : tensors)
      if (tensor.name == "model/conv.bias") {
        tensor.shape = {5};
        tensor.bytes = std::as_bytes(std::span(zeros).first(5));
      }
  });
  expect_refused(AllOf(HasSubstr("model/conv.bias"), HasSubstr("[5]"), HasSubstr("another model")));
}

TEST_F(CheckpointFile, RefusesAMissingTensor) {
  rewrite([](auto& tensors, auto&) {
    std::erase_if(tensors,
                  [](const TensorToStore& tensor) { return tensor.name == "optimizer.slot2/conv.weight"; });
  });
  expect_refused(HasSubstr("optimizer.slot2/conv.weight"));
}

TEST_F(CheckpointFile, RefusesATensorTooMany) {
  const std::vector<float> zeros(4);
  rewrite([&](auto& tensors, auto&) {
    tensors.push_back({"model/extra.bias", StoredType::f32, {4}, std::as_bytes(std::span(zeros))});
  });
  expect_refused(HasSubstr("another model"));
}

TEST_F(CheckpointFile, RefusesAFileWithoutMetadata) {
  rewrite([](auto&, auto& metadata) { metadata.clear(); });
  expect_refused(HasSubstr("no checkpoint of Quern"));
}

TEST_F(CheckpointFile, RefusesAnotherFormatOrRandomScheme) {
  rewrite([](auto&, auto& metadata) { metadata["rng"] = "mersenne"; });
  expect_refused(HasSubstr("mersenne"));
  rewrite([](auto&, auto& metadata) { metadata["format"] = "quern-checkpoint/9"; });
  expect_refused(HasSubstr("quern-checkpoint/9"));
}

TEST_F(CheckpointFile, RefusesMetadataThatDoNotParse) {
  for (const char* bad : {"", "{", "[]", "{}", R"({"step": -1})", R"({"step": 1e99})", "null"}) {
    rewrite([&](auto&, auto& metadata) { metadata["state"] = bad; });
    expect_refused(HasSubstr("state"));
  }
  save_checkpoint(path_, saved_);
  rewrite([](auto&, auto& metadata) { metadata["model"] = R"({"name": "x", "layers": []})"; });
  expect_refused(HasSubstr("model"));
}

TEST(FindCheckpoint, KnowsFilesAndRunFolders) {
  const TemporaryFolder folder;
  EXPECT_THROW(find_checkpoint(folder / "none", false), Error);
  EXPECT_THROW(find_checkpoint(folder.path(), false), Error);
  std::ofstream(folder / "last.safetensors") << "x";
  EXPECT_EQ(find_checkpoint(folder.path(), false), folder / "last.safetensors");
  std::ofstream(folder / "best.safetensors") << "x";
  EXPECT_EQ(find_checkpoint(folder.path(), false), folder / "best.safetensors");
  EXPECT_EQ(find_checkpoint(folder.path(), true), folder / "last.safetensors");
  EXPECT_EQ(find_checkpoint(folder / "best.safetensors", true), folder / "best.safetensors");
}

}  // namespace
}  // namespace quern
