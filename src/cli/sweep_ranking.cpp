#include "cli/sweep_ranking.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "cli/console.hpp"
#include "cli/progress.hpp"

namespace quern::cli {
namespace {

const std::vector<std::string> kSpreadHeader{">n", ">mean", ">sd", ">min", ">max", ">std error"};

/// n, mean, sd, min, max and standard error, as cells.
std::vector<std::string> cells(const Spread& spread, std::int64_t images) {
  if (spread.n == 0) return {"0", "-", "-", "-", "-", "-"};
  return {std::to_string(spread.n),
          percent(spread.mean),
          spread.n > 1 ? fmt::format("{:.2f}", spread.sd * 100) : "-",
          percent(spread.min),
          percent(spread.max),
          images > 0 ? fmt::format("{:.2f}", standard_error(spread.mean, images) * 100) : "-"};
}

/// Without its last line break.
std::string text_of(const std::vector<std::string>& header,
                    const std::vector<std::vector<std::string>>& rows) {
  std::string table = format_table(header, rows);
  table.pop_back();
  return table;
}

}  // namespace

std::optional<double> number_in(const nlohmann::json& record, const char* key) {
  if (!record.is_object() || !record.contains(key) || !record.at(key).is_number()) return std::nullopt;
  return record.at(key).get<double>();
}

nlohmann::json to_json(const Spread& spread, std::int64_t images) {
  if (spread.n == 0) return {{"n", 0}};
  return {{"n", spread.n},
          {"mean", spread.mean},
          {"sd", spread.sd},
          {"min", spread.min},
          {"max", spread.max},
          {"images", images},
          {"standard_error", standard_error(spread.mean, images)}};
}

std::vector<Standing> rank(const SweepFolder& folder, const SweepPlan& plan, std::size_t settings) {
  std::vector<Standing> standings;
  for (std::size_t i = 0; i < settings; ++i) {
    Standing standing{i, {}, {}, {}, 0};
    for (std::int64_t seed = plan.first_seed; seed < plan.first_seed + plan.seeds; ++seed) {
      const nlohmann::json* record = folder.run(i, seed);
      if (record == nullptr) continue;
      if (record->contains("failed") && !record->at("failed").is_null()) {
        ++standing.failed;
        continue;
      }
      standing.seeds.push_back(seed);
      if (const auto value = number_in(*record, "validation_accuracy")) standing.validation.push_back(*value);
      if (const auto value = number_in(*record, "train_accuracy")) standing.training.push_back(*value);
    }
    standings.push_back(std::move(standing));
  }
  const auto key = [](const Standing& standing) {
    return std::tuple(standing.seeds.empty(), standing.failed > 0, -spread_of(standing.validation).mean);
  };
  std::stable_sort(standings.begin(), standings.end(),
                   [&](const Standing& a, const Standing& b) { return key(a) < key(b); });
  return standings;
}

std::string ranking_table(std::span<const Standing> standings, std::span<const Axis> axes,
                          std::span<const Setting> settings, std::int64_t images) {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  const bool failures = std::any_of(standings.begin(), standings.end(),
                                    [](const Standing& standing) { return standing.failed > 0; });
  const auto add = [&](std::vector<std::string> row, const std::vector<double>& values, std::int64_t of,
                       std::int64_t failed) {
    for (std::string& cell : cells(spread_of(values), of)) row.push_back(std::move(cell));
    if (failures) row.push_back(std::to_string(failed));
    rows.push_back(std::move(row));
  };
  if (axes.empty()) {
    header = {""};
    const Standing& only = standings.front();
    add({"training accuracy"}, only.training, 0, only.failed);
    if (images > 0) add({"validation accuracy"}, only.validation, images, only.failed);
  } else {
    for (const Axis& axis : axes) header.push_back(title(axis));
    for (const Standing& standing : standings)
      add(settings[standing.setting], standing.validation, images, standing.failed);
  }
  header.insert(header.end(), kSpreadHeader.begin(), kSpreadHeader.end());
  if (failures) header.emplace_back(">failed");
  return text_of(header, rows);
}

std::string spread_table(const std::string& heading, const std::string& name, const Spread& spread,
                         std::int64_t images) {
  std::vector<std::string> header{heading}, row{name};
  header.insert(header.end(), kSpreadHeader.begin(), kSpreadHeader.end());
  for (std::string& cell : cells(spread, images)) row.push_back(std::move(cell));
  return text_of(header, {row});
}

}  // namespace quern::cli
