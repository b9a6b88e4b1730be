#include "report/run_record.hpp"

#include <algorithm>
#include <cmath>

#include "quern/error.hpp"
#include "quern/file.hpp"

namespace quern {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t kLargestFile = std::uint64_t{256} << 20;

bool there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

nlohmann::json read_object(const fs::path& path) {
  nlohmann::json json =
      nlohmann::json::parse(read_text(path, kLargestFile), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) fail_input("{}: not a JSON object; the run is damaged", path.string());
  return json;
}

/// The objects of a file of one a line. The last line may be half-written.
std::vector<nlohmann::json> read_lines(const fs::path& path) {
  std::vector<nlohmann::json> rows;
  if (!there(path)) return rows;
  const std::string text = read_text(path, kLargestFile);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    nlohmann::json row = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                               text.begin() + static_cast<std::ptrdiff_t>(end), nullptr,
                                               /*allow_exceptions=*/false);
    if (row.is_object()) {
      rows.push_back(std::move(row));
    } else if (end < text.size()) {
      fail_input("{}: line {} is no JSON object; the run is damaged", path.string(),
                 std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(begin), '\n') + 1);
    }
    begin = end + 1;
  }
  return rows;
}

std::optional<double> number(const nlohmann::json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::string text_of(const nlohmann::json& json) {
  if (json.is_string()) return json.get<std::string>();
  return json.is_number() || json.is_boolean()
             ? json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
             : "";
}

}  // namespace

std::string RunRecord::text(const char* key) const {
  const auto found = config.find(key);
  return found == config.end() ? "" : text_of(*found);
}

std::string RunRecord::run_text(const char* key) const {
  const auto run = config.find("run");
  if (run == config.end() || !run->is_object()) return "";
  const auto found = run->find(key);
  return found == run->end() ? "" : text_of(*found);
}

double RunRecord::steps_per_epoch() const {
  return epochs.empty() || !(epochs.back().epoch > 0) ? 0 : epochs.back().step / epochs.back().epoch;
}

double RunRecord::seconds() const {
  double sum = 0;
  for (const EpochRow& row : epochs) sum += row.seconds;
  return sum;
}

RunRecord load_run(const fs::path& folder) {
  if (!there(folder / "config.json"))
    fail_input("{}: no run: it has no config.json; give a folder that `quern train` made", folder.string());
  RunRecord run;
  const fs::path whole = fs::absolute(folder).lexically_normal();
  run.name = (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  run.config = read_object(folder / "config.json");
  const auto model = run.config.find("model");
  if (model == run.config.end()) fail_input("{}: no model in its config.json", folder.string());
  run.spec = parse_model_spec(model->dump(), (folder / "config.json").string());
  for (const nlohmann::json& row : read_lines(folder / "metrics.jsonl")) {
    const auto value = [&](const char* key) { return number(row, key).value_or(NAN); };
    run.epochs.push_back({value("epoch"), value("step"), value("train_loss"), value("train_accuracy"),
                          value("learning_rate"), value("seconds"), value("images_per_second"),
                          number(row, "validation_loss"), number(row, "validation_accuracy")});
  }
  for (const nlohmann::json& row : read_lines(folder / "progress.jsonl")) {
    const auto epochs = number(row, "epochs"), loss = number(row, "loss"), accuracy = number(row, "accuracy");
    if (epochs && loss) run.loss.emplace_back(*epochs, *loss);
    if (epochs && accuracy) run.accuracy.emplace_back(*epochs, *accuracy);
  }
  if (there(folder / "test.json")) run.test = load_test_record(folder / "test.json");
  if (there(folder / "profile.json")) run.profile = read_object(folder / "profile.json");
  for (const char* name : {"best.safetensors", "last.safetensors"})
    if (!run.checkpoint && there(folder / name)) run.checkpoint = load_checkpoint(folder / name);
  return run;
}

}  // namespace quern
