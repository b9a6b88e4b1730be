#pragma once

/// The flags of `quern train`, and what they amount to.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/flags.hpp"
#include "quern/checkpoint.hpp"
#include "quern/session.hpp"

namespace quern::cli {

/// A run as asked for: new, or going on from a checkpoint.
struct TrainRequest {
  ModelSpec spec;  ///< with the recipe in force
  RunSettings run;
  SessionOptions session;
  std::optional<Checkpoint> resumed;
  std::filesystem::path resumed_from;
  std::optional<std::filesystem::path> run_dir;
  bool no_save = false, tui = false;
  std::optional<double> required_accuracy;
  std::int64_t check_every = 0;                                        ///< 0: no step is checked
  std::optional<std::pair<std::int64_t, std::int64_t>> profile_steps;  ///< [first, second) for a profiler
};

struct TrainFlags {
  std::optional<std::string> model, data, resume, run_dir, profile_steps, on_nan;
  std::optional<std::int64_t> seed, validation, limit_train, limit_test, check_every;
  std::optional<int> early_stop;
  std::optional<double> require_accuracy;
  std::vector<std::string> set;  ///< see spec_override.hpp
  bool no_save = false, tui = false;
  RecipeFlags recipe;
  DeviceFlags device;
  OutputFlags output;

  void add_to(CLI::App& command);
  /// Loads the spec or the checkpoint. Throws input errors for flags that contradict each other or the
  /// checkpoint.
  TrainRequest request() const;

 private:
  void add_data_flags(CLI::App& command);
  void add_run_flags(CLI::App& command);
  TrainRequest fresh() const;
  TrainRequest resumed_request() const;
};

inline constexpr const char* kDefaultModel = "seed-bn";
inline constexpr const char* kDefaultData = "mnist";

}  // namespace quern::cli
