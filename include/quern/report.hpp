#pragma once

/// Reports: a run folder, or several, as one HTML page that needs nothing else - no network, no script.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "quern/dataset.hpp"
#include "quern/session.hpp"

namespace quern {

/// An image that was taken for another class.
struct Mistake {
  std::int64_t index = 0;  ///< in the test set
  int label = 0, predicted = 0;
  std::vector<float> probabilities;
  std::string png_base64;
};

/// What a test set said of a network; kept as test.json in the run folder.
struct TestRecord {
  std::string data;  ///< the set's name
  double accuracy = 0, loss = 0;
  std::vector<std::string> class_names;
  std::vector<std::vector<std::int64_t>> confusion;  ///< [true class][class predicted]
  std::int64_t mistakes_count = 0;
  std::vector<Mistake> mistakes;  ///< at most kMostMistakes, those first that the network was surest of

  static constexpr std::size_t kMostMistakes = 60;
};

/// counts[label][predicted] over the first images of the split; the first maximum wins a tie, as in training.
std::vector<std::vector<std::int64_t>> confusion_matrix(const Evaluation& evaluation, const Split& images);

/// `evaluation` must have its logits; it is of the first `evaluation.count` images of `images`.
TestRecord make_test_record(const Evaluation& evaluation, const Split& images, const std::string& data,
                            std::vector<std::string> class_names);
void save_test_record(const std::filesystem::path& path, const TestRecord& record);
/// Throws input errors that start with the path.
TestRecord load_test_record(const std::filesystem::path& path);

/// The page for one run folder, or for several in comparison. Read are config.json and metrics.jsonl, and,
/// where they are there, progress.jsonl, test.json, profile.json (`quern profile --json`) and the checkpoint.
/// Throws an input error for a folder that is no run or files that do not parse. All text from the folder is
/// escaped.
std::string render_report(std::span<const std::filesystem::path> runs);

}  // namespace quern
