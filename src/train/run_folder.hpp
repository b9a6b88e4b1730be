#pragma once

/// What a run leaves behind: config.json, plan.json, metrics.csv, metrics.jsonl, progress.jsonl,
/// last.safetensors, best.safetensors.

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "quern/plan.hpp"
#include "quern/trainer.hpp"

namespace quern {

class RunFolder {
 public:
  /// runs/<UTC time>-<model>/, with a number appended when two runs begin in one second.
  static RunFolder create(const std::filesystem::path& parent, const std::string& model);
  /// A folder the user names. Throws an input error if it already holds a run.
  static RunFolder create_at(const std::filesystem::path& path);
  /// The folder of a run that is resumed; rows of its metrics after `epoch` are dropped.
  static RunFolder reopen(const std::filesystem::path& path, std::int64_t epoch);
  /// Whether a folder holds a run.
  static bool is_run(const std::filesystem::path& path);
  /// The run in `parent` that began last; throws an input error if there is none.
  static std::filesystem::path newest(const std::filesystem::path& parent);

  const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path last() const { return path_ / "last.safetensors"; }
  std::filesystem::path best() const { return path_ / "best.safetensors"; }

  void write_config(const nlohmann::json& config) const;
  void write_plan(const Plan& plan) const;
  /// Appends a row to metrics.csv and metrics.jsonl; to neither when it throws a device error.
  void append(const EpochResult& result) const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

nlohmann::json to_json(const EpochResult& result);
nlohmann::json to_json(const Plan& plan);

/// "20261231T235959Z"
std::string utc_time();

}  // namespace quern
