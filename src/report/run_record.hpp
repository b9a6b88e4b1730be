#pragma once

/// What a run folder holds, read for a report.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quern/checkpoint.hpp"
#include "quern/model_spec.hpp"
#include "quern/report.hpp"

namespace quern {

struct EpochRow {
  double epoch = 0, step = 0, train_loss = 0, train_accuracy = 0, learning_rate = 0, seconds = 0,
         images_per_second = 0;
  std::optional<double> validation_loss, validation_accuracy;
};

struct RunRecord {
  std::string name;       ///< of the folder
  nlohmann::json config;  ///< an object
  ModelSpec spec;
  std::vector<EpochRow> epochs;
  /// Means over short stretches of training: (epochs done, loss or accuracy).
  std::vector<std::pair<double, double>> loss, accuracy;
  std::optional<TestRecord> test;
  nlohmann::json profile;                ///< null where there is none
  std::optional<Checkpoint> checkpoint;  ///< the best, or the last

  /// A text of the config, or of its object "run"; empty where it is missing.
  std::string text(const char* key) const;
  std::string run_text(const char* key) const;
  double steps_per_epoch() const;
  double seconds() const;
};

RunRecord load_run(const std::filesystem::path& folder);

}  // namespace quern
