#include "train/run_folder.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "quern/error.hpp"
#include "quern/file.hpp"

namespace quern {
namespace fs = std::filesystem;
namespace {

constexpr const char* kCsvHeader =
    "epoch,step,train_loss,train_accuracy,validation_loss,validation_accuracy,learning_rate,seconds,images_"
    "per_second,skipped_steps\n";

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    fail_device("{}: the folder cannot be made: {}: choose another place with --run-dir, or --no-save",
                path.string(), error.message());
}

/// True if this call made the folder, false if it was there.
bool make_folder(const fs::path& path) {
  std::error_code error;
  const bool made = fs::create_directory(path, error);
  if (error)
    fail_device("{}: the folder cannot be made: {}: choose another place with --run-dir, or --no-save",
                path.string(), error.message());
  return made;
}

/// A file's length now, to go back to; nothing while there is no file.
class Length {
 public:
  explicit Length(const fs::path& path) : path_(path) {
    std::error_code ignored;
    if (fs::exists(path, ignored)) bytes_ = fs::file_size(path, ignored);
  }
  void restore() const noexcept {
    std::error_code ignored;
    if (bytes_) {
      fs::resize_file(path_, *bytes_, ignored);
    } else {
      fs::remove(path_, ignored);
    }
  }

 private:
  const fs::path& path_;
  std::optional<std::uintmax_t> bytes_;
};

/// All of the text, or none of it.
void append_text(const fs::path& path, const std::string& text) {
  const Length before(path);
  errno = 0;
  std::ofstream file(path, std::ios::app | std::ios::binary);
  file << text;
  file.close();
  if (file) return;
  const int error = errno;
  before.restore();
  fail_device("cannot write {}: {}: check the disk's space and permissions", path.string(),
              std::strerror(error));
}

std::string csv_row(const EpochResult& result) {
  const auto optional = [](const std::optional<double>& value) {
    return value ? fmt::format("{}", *value) : "";
  };
  return fmt::format("{},{},{},{},{},{},{},{:.4f},{:.1f},{}\n", result.epoch, result.step, result.train_loss,
                     result.train_accuracy, optional(result.validation_loss),
                     optional(result.validation_accuracy), static_cast<float>(result.learning_rate),
                     result.seconds, result.images_per_second, result.skipped);
}

/// The lines whose epoch is at most `epoch`; a line that a killed process left half-written has none.
std::string keep_rows(const fs::path& path, std::int64_t epoch, bool csv) {
  std::ifstream file(path, std::ios::binary);
  std::string kept;
  bool header = csv;
  for (std::string line; std::getline(file, line);) {
    if (file.eof()) break;  // no newline at its end: half-written
    std::int64_t row = -1;
    if (csv) {
      if (!header) row = std::atoll(line.c_str());
    } else {
      const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (json.is_object() && json.contains("epoch") && json["epoch"].is_number_integer())
        row = json["epoch"];
    }
    if (header || (row >= 1 && row <= epoch)) kept += line + '\n';
    header = false;
  }
  return kept;
}

}  // namespace

std::string utc_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  return text;
}

RunFolder RunFolder::create(const fs::path& parent, const std::string& model) {
  make_folders(parent);
  const std::string name = fmt::format("{}-{}", utc_time(), model);
  for (int number = 1;; ++number) {
    const fs::path path = parent / (number == 1 ? name : fmt::format("{}-{}", name, number));
    if (make_folder(path)) return RunFolder(path);
  }
}

bool RunFolder::is_run(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path / "config.json", ignored) || fs::exists(path / "last.safetensors", ignored);
}

RunFolder RunFolder::create_at(const fs::path& path) {
  if (is_run(path))
    fail_input("--run-dir {}: already holds a run: resume it with --resume, or choose another folder",
               path.string());
  std::error_code ignored;
  if (fs::exists(path, ignored) && !fs::is_directory(path, ignored))
    fail_input("--run-dir {}: is not a folder", path.string());
  make_folders(path);
  return RunFolder(path);
}

RunFolder RunFolder::reopen(const fs::path& path, std::int64_t epoch) {
  for (const char* name : {"metrics.csv", "metrics.jsonl", "progress.jsonl"}) {
    std::error_code ignored;
    if (fs::exists(path / name, ignored))
      write_file_atomically(path / name,
                            keep_rows(path / name, epoch, std::string_view(name) == "metrics.csv"));
  }
  return RunFolder(path);
}

fs::path RunFolder::newest(const fs::path& parent) {
  std::error_code error;
  fs::path found;
  fs::file_time_type found_time;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    const fs::path last = entry.path() / "last.safetensors";
    std::error_code ignored;
    if (!fs::exists(last, ignored)) continue;
    const auto time = fs::last_write_time(last, ignored);
    if (found.empty() || time > found_time || (time == found_time && entry.path() > found)) {
      found = entry.path();
      found_time = time;
    }
  }
  if (found.empty())
    fail_input("no trained model in {}/: train one with `quern train`, or name one with --checkpoint",
               parent.string());
  return found;
}

void RunFolder::write_config(const nlohmann::json& config) const {
  write_file_atomically(path_ / "config.json", config.dump(2) + "\n");
}

void RunFolder::write_plan(const Plan& plan) const {
  write_file_atomically(path_ / "plan.json", to_json(plan).dump(1) + "\n");
}

void RunFolder::append(const EpochResult& result) const {
  std::error_code ignored;
  const fs::path csv = path_ / "metrics.csv";
  const Length before(csv);
  append_text(csv, (fs::exists(csv, ignored) ? "" : kCsvHeader) + csv_row(result));
  try {
    append_text(path_ / "metrics.jsonl", to_json(result).dump() + "\n");
  } catch (...) {
    before.restore();  // a row is in both files or in neither
    throw;
  }
}

nlohmann::json to_json(const EpochResult& result) {
  nlohmann::json json = {{"epoch", result.epoch},
                         {"step", result.step},
                         {"train_loss", result.train_loss},
                         {"train_accuracy", result.train_accuracy},
                         {"learning_rate", result.learning_rate},
                         {"seconds", result.seconds},
                         {"images_per_second", result.images_per_second},
                         {"skipped_steps", result.skipped}};
  if (result.validation_loss) json["validation_loss"] = *result.validation_loss;
  if (result.validation_accuracy) json["validation_accuracy"] = *result.validation_accuracy;
  return json;
}

nlohmann::json to_json(const Plan& plan) {
  const auto operands = [](const std::vector<TensorDesc>& descs) {
    nlohmann::json list = nlohmann::json::array();
    for (const TensorDesc& desc : descs) list.push_back(to_string(desc));
    return list;
  };
  nlohmann::json nodes = nlohmann::json::array();
  for (const PlannedNode& planned : plan.nodes) {
    const Node& node = plan.graph.nodes[static_cast<std::size_t>(planned.node)];
    nlohmann::json refusals = nlohmann::json::array();
    for (const auto& [name, reason] : planned.refusals)
      refusals.push_back({{"implementation", name}, {"reason", reason}});
    nlohmann::json times = nlohmann::json::array();
    for (const auto& [name, seconds] : planned.times)
      times.push_back({{"implementation", name}, {"seconds", seconds}});
    const OpCost least = cost(planned.desc);
    nodes.push_back({{"name", node.name},
                     {"layer", node.layer},
                     {"op", to_string(node.op)},
                     {"phase", to_string(node.phase)},
                     {"implementation", planned.implementation->full_name()},
                     {"refusals", std::move(refusals)},
                     {"times", std::move(times)},
                     {"launches", planned.launches},
                     {"flops", least.flops},
                     {"bytes", least.bytes},
                     {"inputs", operands(planned.desc.inputs)},
                     {"outputs", operands(planned.desc.outputs)}});
  }
  return {{"device", plan.device.name},
          {"device_kind", to_string(plan.device.kind)},
          {"precision", to_string(plan.graph.precision)},
          {"launches", launches(plan)},
          {"arena_bytes", plan.arena_bytes},
          {"transient_bytes", plan.transient_bytes},
          {"nodes", std::move(nodes)}};
}

}  // namespace quern
