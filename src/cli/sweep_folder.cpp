#include "cli/sweep_folder.hpp"

#include <algorithm>
#include <system_error>

#include "graph/json_reader.hpp"
#include "quern/error.hpp"
#include "quern/file.hpp"
#include "quern/version.hpp"

namespace quern::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t kLargest = std::uint64_t{64} << 20;

nlohmann::json to_json(const SweepPlan& plan) {
  return {{"quern_version", version()}, {"flags", plan.flags},
          {"vary", plan.vary},          {"search_seed", plan.search_seed},
          {"random", plan.random},      {"first_seed", plan.first_seed},
          {"seeds", plan.seeds},        {"data", plan.data},
          {"specs", plan.specs}};
}

SweepPlan parse_plan(const std::string& text, const std::string& where) {
  const nlohmann::json json = parse_json(text, where);
  JsonReader reader(json, where);
  SweepPlan plan;
  reader.string("quern_version");
  plan.flags = reader.strings("flags");
  plan.vary = reader.strings("vary");
  plan.search_seed = static_cast<std::uint64_t>(reader.integer("search_seed", 0, INT64_MAX));
  plan.random = reader.integer("random", 0, INT64_MAX);
  plan.first_seed = reader.integer("first_seed", 0, INT64_MAX);
  plan.seeds = reader.integer("seeds", 1, INT64_MAX);
  plan.data = reader.raw("data");
  plan.specs = reader.raw("specs");
  reader.finish();
  return plan;
}

/// "the folder has --lr=0.01, now it is --lr=0.02" for lists of words.
void compare(const char* what, const std::vector<std::string>& then, const std::vector<std::string>& now,
             std::vector<std::string>& differences) {
  if (then == now) return;
  const auto only_in = [&](const std::vector<std::string>& a, const std::vector<std::string>& b) {
    std::vector<std::string> words;
    for (const std::string& word : a)
      if (std::find(b.begin(), b.end(), word) == b.end()) words.push_back(word);
    return words.empty() ? std::string("nothing of that") : fmt::format("{}", fmt::join(words, " "));
  };
  const std::string old_words = only_in(then, now), new_words = only_in(now, then);
  differences.push_back(old_words == new_words
                            ? fmt::format("{} came in another order", what)
                            : fmt::format("{}: it has {}, now given: {}", what, old_words, new_words));
}

void require_same(const fs::path& path, const SweepPlan& then, const SweepPlan& now) {
  std::vector<std::string> differences;
  compare("flags", then.flags, now.flags, differences);
  compare("--vary", then.vary, now.vary, differences);
  if ((then.random > 0) != (now.random > 0))
    differences.push_back(then.random > 0 ? "it is a random search (--random), not a grid"
                                          : "it is a grid, not a random search (--random)");
  else if (then.search_seed != now.search_seed)
    differences.push_back(
        fmt::format("it was drawn with --search-seed {}, not {}", then.search_seed, now.search_seed));
  if (then.data != now.data) differences.emplace_back("it has another training set");
  for (const auto& [name, spec] : now.specs.items())
    if (then.specs.is_object() && then.specs.contains(name) && then.specs.at(name) != spec)
      differences.push_back(fmt::format("the spec of {} has changed since", name));
  if (differences.empty()) return;
  fail_input(
      "{} holds a sweep of other settings: {}; give none to go on with it (quern sweep --dir {}), or name a "
      "new "
      "folder",
      path.string(), fmt::join(differences, "; "), path.string());
}

}  // namespace

std::optional<SweepPlan> SweepFolder::plan_in(const fs::path& path) {
  std::error_code error;
  const fs::path file = path / "sweep.json";
  if (fs::exists(file, error))
    return with_clean_messages([&] { return parse_plan(read_text(file, kLargest), file.string()); });
  if (fs::exists(path, error) && (!fs::is_directory(path, error) || !fs::is_empty(path, error)))
    fail_input("{} is there already and holds no sweep: name a new folder", path.string());
  return std::nullopt;
}

SweepFolder::SweepFolder(fs::path path, const SweepPlan& plan)
    : path_(std::move(path)), runs_{path_ / "runs.jsonl", {}}, tests_{path_ / "tests.jsonl", {}} {
  if (const std::optional<SweepPlan> then = plan_in(path_)) {
    require_same(path_, *then, plan);
    load(runs_);
    load(tests_);
  }
  std::error_code error;
  fs::create_directories(path_, error);
  if (error)
    throw Error(ErrorKind::device, fmt::format("{} cannot be created: {}: name another folder with --dir",
                                               path_.string(), error.message()));
  write_file_atomically(path_ / "sweep.json", to_json(plan).dump(1) + "\n");
}

fs::path SweepFolder::run_name(std::size_t setting, std::int64_t seed) {
  return fs::path("runs") / fmt::format("{:03}-seed{}", setting + 1, seed);
}

void SweepFolder::load(Record& record) {
  std::error_code error;
  if (!fs::exists(record.path, error)) return;
  const std::string text = read_text(record.path, kLargest);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string where = fmt::format("{}: line {}", record.path.string(), ++number);
    nlohmann::json line =
        with_clean_messages([&] { return parse_json(text.substr(begin, end - begin), where); });
    const auto whole = [&](const char* key) {
      return line.is_object() && line.contains(key) && line[key].is_number_unsigned();
    };
    if (!whole("setting") || !whole("seed"))
      fail_input("{}: a record has a setting and a seed: delete the line, and its run is made anew", where);
    record.lines.push_back(std::move(line));
    begin = end + 1;
  }
}

const nlohmann::json* SweepFolder::find(const Record& record, std::size_t setting, std::int64_t seed) {
  for (const nlohmann::json& line : record.lines)
    if (line["setting"] == setting + 1 && line["seed"] == seed) return &line;
  return nullptr;
}

void SweepFolder::add(Record& record, std::size_t setting, std::int64_t seed, nlohmann::json line) {
  line["setting"] = setting + 1;
  line["seed"] = static_cast<std::uint64_t>(seed);
  record.lines.push_back(std::move(line));
  std::string text;
  for (const nlohmann::json& each : record.lines)
    text += each.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  write_file_atomically(record.path, text);
}

const nlohmann::json* SweepFolder::run(std::size_t setting, std::int64_t seed) const {
  return find(runs_, setting, seed);
}
const nlohmann::json* SweepFolder::test(std::size_t setting, std::int64_t seed) const {
  return find(tests_, setting, seed);
}
void SweepFolder::add_run(std::size_t setting, std::int64_t seed, nlohmann::json record) {
  add(runs_, setting, seed, std::move(record));
}
void SweepFolder::add_test(std::size_t setting, std::int64_t seed, nlohmann::json record) {
  add(tests_, setting, seed, std::move(record));
}

}  // namespace quern::cli
