#pragma once

/// A data set and models small enough to train in milliseconds, for the trainer's tests.

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "quern/dataset.hpp"
#include "quern/model_spec.hpp"
#include "quern/philox.hpp"
#include "quern/session.hpp"
#include "quern/trainer.hpp"

namespace quern::test {

/// Images of 8x8 in 4 classes: a bright 4x4 quadrant at a place that depends on the class, under noise.
inline Split small_images(std::int64_t count, std::uint64_t seed = 7) {
  Split split;
  split.count = count;
  split.height = split.width = 8;
  split.channels = 1;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto label = static_cast<std::uint8_t>(i % 4);
    split.labels.push_back(label);
    for (std::int64_t pixel = 0; pixel < 64; ++pixel) {
      const std::uint32_t noise =
          philox_u32(seed, RandomPurpose::test, 0, 0, static_cast<std::uint64_t>(i * 64 + pixel));
      const bool lit = (pixel / 8 / 4) * 2 + pixel % 8 / 4 == label;
      split.images.push_back(static_cast<std::uint8_t>(noise % 140 + (lit ? 60 : 0)));
    }
  }
  return split;
}

/// Convolution, batch normalisation, pooling, dropout, dense: every kind of state that a run has.
inline ModelSpec small_model(const std::string& recipe = "{}") {
  return parse_model_spec(R"({"name": "small", "input": {"shape": [8, 8, 1]}, "layers": [
      {"name": "conv", "op": "conv2d", "filters": 4, "kernel": 3, "padding": "same"},
      {"name": "relu", "op": "relu"},
      {"name": "bn", "op": "batchnorm", "momentum": 0.9},
      {"name": "pool", "op": "maxpool2d"},
      {"name": "flatten", "op": "flatten"},
      {"name": "dropout", "op": "dropout", "rate": 0.1},
      {"name": "logits", "op": "dense", "units": 4}], "recipe": )" +
                              recipe + "}",
                          "small");
}

/// Only a dense layer: its gradient is the same function of every image.
inline ModelSpec linear_model(const std::string& recipe) {
  return parse_model_spec(R"({"name": "linear", "input": {"shape": [8, 8, 1]}, "layers": [
      {"name": "flatten", "op": "flatten"}, {"name": "logits", "op": "dense", "units": 4}], "recipe": )" +
                              recipe + "}",
                          "linear");
}

inline SessionOptions cpu(std::vector<std::string> impls = {}) {
  SessionOptions options;
  options.device = "cpu";
  options.threads = 2;
  options.impls = std::move(impls);
  return options;
}

/// A session, its images on the device and a trainer, in one place.
struct SmallRun {
  SmallRun(ModelSpec spec, const Split& data, RunSettings settings = {},
           const SessionOptions& options = cpu())
      : session(std::move(spec), options),
        images(session, data, "the training set"),
        trainer(session, images, settings) {}
  StopReason train(TrainObserver& observer) { return trainer.run(observer); }
  StopReason train() {
    TrainObserver silent;
    return trainer.run(silent);
  }
  std::string hash() { return weights_hash(session.layout(), session.weights()); }

  Session session;
  DeviceImages images;
  Trainer trainer;
};

/// Records epochs; asks to stop before step `stop_before` (counted over the whole process).
class Recorder : public TrainObserver {
 public:
  explicit Recorder(std::int64_t stop_before = -1) : stop_before_(stop_before) {}
  void on_epoch(const EpochResult& result) override { epochs.push_back(result); }
  bool stop_requested() override { return asked_++ == stop_before_; }
  std::vector<EpochResult> epochs;

 private:
  std::int64_t stop_before_, asked_ = 0;
};

/// A folder of its own that goes away with it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string text = (std::filesystem::temp_directory_path() / "quern-test-XXXXXX").string();
    if (mkdtemp(text.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = text;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace quern::test
