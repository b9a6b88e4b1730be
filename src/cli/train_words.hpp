#pragma once

/// The flags of `quern train` as words that can be kept, changed and parsed again.

#include <CLI/CLI.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/train_flags.hpp"

namespace quern::cli {

/// Flags of `quern train` that make no sense for many runs at once.
inline constexpr const char* kNotInSweeps[] = {"--resume",      "--run-dir",       "--require-accuracy",
                                               "--check-every", "--profile-steps", "--tui"};
/// Those that are not part of a run's setting, or would have settings judged by different images.
inline constexpr const char* kNotVaried[] = {"help", "seed",    "validation", "data", "limit-test",
                                             "json", "no-save", "quiet",      "set"};

bool contains(std::span<const char* const> names, std::string_view name);

/// The flags of `quern train` as the program parses them, without the program around them. For one command
/// line.
class TrainParser {
 public:
  TrainParser();
  /// Throws an input error for words that are wrong.
  TrainRequest parse(std::vector<std::string> words);
  bool has(const std::string& flag) const;
  /// Names that --vary may take.
  std::vector<std::string> varied() const;

 private:
  CLI::App app_;
  TrainFlags flags_;
};

/// What was given of the flags of `quern train`, as words that give it again: "--lr=0.01".
std::vector<std::string> train_words(const CLI::App& command);
/// Of "--lr=0.01", where the flag "--lr" is among the words.
std::optional<std::string> value_of(const std::vector<std::string>& words, std::string_view flag);

}  // namespace quern::cli
