#pragma once

/// What the runs of a sweep come to, setting by setting.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/statistics.hpp"
#include "cli/sweep_axes.hpp"
#include "cli/sweep_folder.hpp"

namespace quern::cli {

/// A setting with what its runs have come to.
struct Standing {
  std::size_t setting = 0;
  std::vector<double> validation, training;  ///< of the runs that ended well, in the order of their seeds
  std::vector<std::int64_t> seeds;           ///< of those runs
  std::int64_t failed = 0;
};

/// Best first: by the mean validation accuracy; settings with a run that failed come after those without, and
/// those that only failed last. `plan` names the seeds that count.
std::vector<Standing> rank(const SweepFolder& folder, const SweepPlan& plan, std::size_t settings);

/// A row for each standing, with a column for each axis, judged by so many held-out images; without axes a
/// row for the accuracy in training and one for that on these images.
std::string ranking_table(std::span<const Standing> standings, std::span<const Axis> axes,
                          std::span<const Setting> settings, std::int64_t images);
/// One row of n, mean, sd, least, most and standard error.
std::string spread_table(const std::string& heading, const std::string& name, const Spread& spread,
                         std::int64_t images);

/// The same numbers; only n where that is 0. `images`: each measured value is a share of so many.
nlohmann::json to_json(const Spread& spread, std::int64_t images);
/// The number `key` of a record, where it has one.
std::optional<double> number_in(const nlohmann::json& record, const char* key);

}  // namespace quern::cli
