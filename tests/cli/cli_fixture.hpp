#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cli/process.hpp"
#include "tests/train/small_world.hpp"

namespace quern::test {

/// Commands run in a folder of their own, beside a data set ("data", 8x8 images in 4 classes) and a model
/// that takes it ("small.json").
class Cli : public testing::Test {
 protected:
  Cli() {
    std::filesystem::create_directories(folder_ / "data");
    write_data(small_images(200), small_images(60, 8));
    std::ofstream(folder_ / "small.json") << R"({"name": "small", "input": {"shape": [8, 8, 1]}, "layers": [
        {"name": "conv", "op": "conv2d", "filters": 4, "kernel": 3, "padding": "same"}, {"name": "relu", "op": "relu"},
        {"name": "bn", "op": "batchnorm", "momentum": 0.9}, {"name": "flatten", "op": "flatten"},
        {"name": "logits", "op": "dense", "units": 4}],
        "recipe": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "schedule": {"kind": "cosine"}}})";
  }

  static void write_idx(const std::filesystem::path& path, const std::vector<std::int64_t>& extents,
                        const std::vector<std::uint8_t>& values) {
    std::ofstream file(path, std::ios::binary);
    const char magic[] = {0, 0, 8, static_cast<char>(extents.size())};
    file.write(magic, 4);
    for (const std::int64_t extent : extents)
      for (int shift = 24; shift >= 0; shift -= 8) file.put(static_cast<char>(extent >> shift));
    file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size()));
  }
  void write_data(const Split& train, const Split& test) {
    write_idx(folder_ / "data/train-images-idx3-ubyte", {train.count, 8, 8}, train.images);
    write_idx(folder_ / "data/train-labels-idx1-ubyte", {train.count}, train.labels);
    write_idx(folder_ / "data/t10k-images-idx3-ubyte", {test.count, 8, 8}, test.images);
    write_idx(folder_ / "data/t10k-labels-idx1-ubyte", {test.count}, test.labels);
    std::ofstream(folder_ / "data/classes.txt") << "north-west\nnorth-east\nsouth-west\nsouth-east\n";
  }

  Outcome quern(const std::vector<std::string>& arguments) {
    return Process(arguments, folder_.path()).wait();
  }
  /// `quern train` on the small world with two threads.
  static std::vector<std::string> train(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"train",     "--model", "small.json", "--data", "data",
                                   "--threads", "2",       "--device",   "cpu"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  /// Runs it with --json and gives the object on the last line of standard output.
  nlohmann::json train_json(std::vector<std::string> more = {}, int status = 0) {
    more.emplace_back("--json");
    const Outcome outcome = quern(train(more));
    EXPECT_EQ(outcome.status, status) << outcome.err;
    return last_line_json(outcome);
  }
  static nlohmann::json last_line_json(const Outcome& outcome) {
    std::istringstream lines(outcome.out);
    std::string line, last;
    while (std::getline(lines, line)) last = line;
    nlohmann::json json = nlohmann::json::parse(last, nullptr, /*allow_exceptions=*/false);
    EXPECT_TRUE(json.is_object()) << outcome.out << outcome.err;
    return json;
  }
  /// Expects exit status 2 and one line on standard error that holds all of `parts`.
  void expect_bad_usage(const std::vector<std::string>& arguments, const std::vector<std::string>& parts) {
    const Outcome outcome = quern(arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.out << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_TRUE(outcome.err.starts_with("quern: ")) << outcome.err;
    for (const std::string& part : parts) EXPECT_THAT(outcome.err, testing::HasSubstr(part));
  }

  TemporaryFolder folder_;
};

}  // namespace quern::test
