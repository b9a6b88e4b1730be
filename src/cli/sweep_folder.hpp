#pragma once

/// What a sweep leaves behind: sweep.json (what it was asked), runs.jsonl (a line for every finished run),
/// tests.jsonl (a line for every look at the test set) and runs/, a run folder for each run.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace quern::cli {

/// What decides a sweep's runs. `seeds`, `first_seed` and `random` only say how many of them there are: they
/// may change when a sweep goes on.
struct SweepPlan {
  std::vector<std::string> flags;  ///< of `quern train`, the same in every run
  std::vector<std::string> vary;   ///< texts of --vary
  std::uint64_t search_seed = 0;   ///< of a random search; 0 in a grid
  nlohmann::json specs;            ///< of every model, as loaded
  nlohmann::json data;             ///< fingerprint of the training set
  std::int64_t random = 0;         ///< settings drawn; 0: a grid
  std::int64_t first_seed = 1, seeds = 0;
};

/// A sweep's folder. Its files are replaced as a whole: a kill at any moment leaves the old record or the new
/// one.
class SweepFolder {
 public:
  /// The plan in `path`, where it holds a sweep. Throws an input error for a folder that holds something
  /// else.
  static std::optional<SweepPlan> plan_in(const std::filesystem::path& path);

  /// Creates the folder or opens that of the same sweep. Throws an input error that says what differs.
  SweepFolder(std::filesystem::path path, const SweepPlan& plan);

  const std::filesystem::path& path() const noexcept { return path_; }
  /// Where a run lies, relative to path().
  static std::filesystem::path run_name(std::size_t setting, std::int64_t seed);

  /// A record of the setting (from 0) and the seed; null where there is none.
  const nlohmann::json* run(std::size_t setting, std::int64_t seed) const;
  const nlohmann::json* test(std::size_t setting, std::int64_t seed) const;
  /// Kept on the disk when the call returns.
  void add_run(std::size_t setting, std::int64_t seed, nlohmann::json record);
  void add_test(std::size_t setting, std::int64_t seed, nlohmann::json record);

 private:
  struct Record {
    std::filesystem::path path;
    std::vector<nlohmann::json> lines;
  };
  static void load(Record& record);
  static const nlohmann::json* find(const Record& record, std::size_t setting, std::int64_t seed);
  static void add(Record& record, std::size_t setting, std::int64_t seed, nlohmann::json line);

  std::filesystem::path path_;
  Record runs_, tests_;
};

}  // namespace quern::cli
