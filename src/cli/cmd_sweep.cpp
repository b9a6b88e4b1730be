#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/interrupt.hpp"
#include "cli/opinion.hpp"
#include "cli/sweep_axes.hpp"
#include "cli/sweep_folder.hpp"
#include "cli/sweep_ranking.hpp"
#include "cli/train_run.hpp"
#include "cli/train_words.hpp"
#include "data/dataset_files.hpp"
#include "io/text.hpp"
#include "quern/error.hpp"
#include "quern/suggest.hpp"
#include "quern/version.hpp"
#include "train/partition.hpp"
#include "train/run_json.hpp"

namespace quern::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kDefaultValidation = 5000, kDefaultSeeds = 3;

struct SweepFlags {
  TrainFlags train;
  std::vector<std::string> vary;
  std::optional<std::int64_t> seeds, random, search_seed;
  std::optional<std::string> dir;
  bool final_test = false;
};

/// One `quern sweep`, from its flags to its exit status.
class Sweep {
 public:
  Sweep(const SweepFlags& flags, const CLI::App& command)
      : flags_(flags),
        printer_(flags.train.output.json ? stderr : stdout, flags.train.output.quiet),
        plan_(make_plan(train_words(command))) {
    check_flags();
    for (const std::string& text : plan_.vary) axes_.push_back(parse_axis(text));
    check_axes();
    settings_ = plan_.random > 0 ? draw(axes_, plan_.random, plan_.search_seed) : grid(axes_);
    const TrainRequest first = request(0, plan_.first_seed, {"--no-save"});
    data_ = load_training_set(first.run.data);
    validation_ = first.run.validation;
    limit_test_ = first.run.limit_test;
    if (validation_ == 0 && settings_.size() > 1)
      fail_input(
          "--validation 0: settings are compared on images held out of the training set: hold some out");
    training_partition(data_.train, first.run);  // throws unless there is enough to hold out
    for (std::size_t i = 0; i < settings_.size(); ++i) check_setting(i);
    plan_.specs = specs();
    plan_.data = to_json(fingerprint_of(data_.train));
    const fs::path path = flags.dir ? fs::path(*flags.dir)
                                    : fs::path("sweeps") / fmt::format("{}-{}", utc_time(), first.spec.name);
    if (const std::string note = fallback_note(first.session.device); !note.empty()) printer_.line(note);
    folder_.emplace(path, plan_);
  }

  int execute() {
    print_header();
    const bool interrupted = !run_all();
    const std::vector<Standing> standings = rank(*folder_, plan_, settings_.size());
    printer_.line("\n" + ranking_table(standings, axes_, settings_, validation_));
    nlohmann::json test = nullptr;
    if (!interrupted && flags_.final_test) test = final_test(standings.front());
    if (interrupted)
      printer_.line(fmt::format("interrupted after {} of {} runs; go on with: quern sweep --dir {}", done(),
                                runs(), shell_word(folder_->path().string())));
    else
      print_advice(standings.front());
    if (flags_.train.output.json) print_json(standings, test, interrupted);
    if (interrupted) return 128 + InterruptGuard::caught();
    return standings.front().seeds.empty() ? exit_status(ErrorKind::check) : 0;
  }

 private:
  /// The folder's own plan when nothing else is asked for; else what the flags say.
  SweepPlan make_plan(std::vector<std::string> words) const {
    SweepPlan plan;
    plan.seeds = kDefaultSeeds;
    const bool bare = words.empty() && flags_.vary.empty() && !flags_.search_seed && flags_.dir;
    std::optional<SweepPlan> kept;
    if (bare) kept = SweepFolder::plan_in(*flags_.dir);
    if (kept) {
      plan = *std::move(kept);
    } else {
      plan.flags = std::move(words);
      if (!value_of(plan.flags, "--validation"))
        plan.flags.push_back(fmt::format("--validation={}", kDefaultValidation));
      plan.vary = flags_.vary;
      if (flags_.random) plan.search_seed = static_cast<std::uint64_t>(flags_.search_seed.value_or(1));
    }
    if (flags_.random) plan.random = *flags_.random;
    if (flags_.seeds) plan.seeds = *flags_.seeds;
    if (flags_.train.seed) plan.first_seed = *flags_.train.seed;
    return plan;
  }

  void check_flags() const {
    if (flags_.seeds && (*flags_.seeds < 1 || *flags_.seeds > kMostSettings))
      fail_input("--seeds {}: give 1 to {}", *flags_.seeds, kMostSettings);
    if (flags_.random && (*flags_.random < 1 || *flags_.random > kMostSettings))
      fail_input("--random {}: draw 1 to {} settings", *flags_.random, kMostSettings);
    if (flags_.search_seed && !flags_.random)
      fail_input("--search-seed {} is for a random search: add --random N", *flags_.search_seed);
    if (flags_.search_seed && *flags_.search_seed < 1)
      fail_input("--search-seed {}: must be at least 1", *flags_.search_seed);
    if (flags_.train.seed && *flags_.train.seed < 0)
      fail_input("--seed {}: must not be negative", *flags_.train.seed);
    if (flags_.final_test && flags_.train.no_save)
      fail_input("--final-test needs the weights of the runs, which --no-save leaves out: give one of them");
  }

  /// Names that runs do not have, twice the same, or given beside --vary.
  void check_axes() const {
    const std::vector<std::string> names = TrainParser().varied();
    for (auto axis = axes_.begin(); axis != axes_.end(); ++axis) {
      const bool known = std::find(names.begin(), names.end(), axis->name) != names.end();
      if (!axis->of_spec() && !known) {
        if (axis->name.find('.') != std::string::npos)
          fail_input("--vary {}: a field of the model spec is varied as spec:{}", axis->text, axis->text);
        if (contains(kNotVaried, axis->name))
          fail_input("--vary {}: '{}' is the same for all settings{}", axis->text, axis->name,
                     axis->name == "seed" ? "; --seeds N says how many seeds each gets" : "");
        fail_input("--vary {}: quern train has no flag --{}{}", axis->text, axis->name,
                   did_you_mean(axis->name, names));
      }
      if (std::any_of(axes_.begin(), axis, [&](const Axis& other) { return other.name == axis->name; }))
        fail_input("--vary {}: '{}' is varied twice", axis->text, axis->name);
      const std::string fixed = axis->of_spec() ? fmt::format("--set={}", title(*axis)) : "--" + axis->name;
      if (value_of(plan_.flags, fixed))
        fail_input("--vary {} and {} contradict each other: leave one out", axis->text, fixed);
    }
  }

  TrainRequest request(std::size_t setting, std::int64_t seed, const std::vector<std::string>& more) const {
    std::vector<std::string> words = plan_.flags;
    for (std::string& word : words_of(axes_, settings_[setting])) words.push_back(std::move(word));
    words.push_back(fmt::format("--seed={}", seed));
    words.insert(words.end(), more.begin(), more.end());
    try {
      return TrainParser().parse(std::move(words));
    } catch (const Error& error) {
      throw located(setting, error);
    }
  }

  Error located(std::size_t setting, const Error& error) const {
    return axes_.empty() ? error
                         : Error(error.kind(), fmt::format("with {}: {}", describe(axes_, settings_[setting]),
                                                           error.what()));
  }

  /// What would end a run before its first step.
  void check_setting(std::size_t setting) const {
    const TrainRequest asked = request(setting, plan_.first_seed, {"--no-save"});
    const std::int64_t left = data_.train.count - asked.run.validation;
    const std::int64_t limit = asked.run.limit_train;
    try {
      check_image_size(asked.spec, data_.train, "the training set");
      steps_in_epoch(limit > 0 ? std::min(limit, left) : left, asked.spec.recipe.batch_size);
    } catch (const Error& error) {
      throw located(setting, error);
    }
  }

  nlohmann::json specs() const {
    std::vector<std::string> names{value_of(plan_.flags, "--model").value_or(kDefaultModel)};
    for (const Axis& axis : axes_)
      if (axis.name == "model") names = axis.values;
    nlohmann::json specs = nlohmann::json::object();
    for (const std::string& name : names) specs[name] = quern::to_json(load_model_spec(name));
    return specs;
  }

  std::int64_t runs() const { return static_cast<std::int64_t>(settings_.size()) * plan_.seeds; }
  std::int64_t done() const {
    std::int64_t count = 0;
    for (std::size_t i = 0; i < settings_.size(); ++i)
      for (std::int64_t seed = 0; seed < plan_.seeds; ++seed)
        count += folder_->run(i, plan_.first_seed + seed) != nullptr ? 1 : 0;
    return count;
  }
  static std::string plural(std::int64_t count, const char* what) {
    return fmt::format("{} {}{}", with_commas(count), what, count == 1 ? "" : "s");
  }

  void print_header() {
    printer_.line(fmt::format(
        "{} by {}, in {}; judged by {}", plural(static_cast<std::int64_t>(settings_.size()), "setting"),
        plural(plan_.seeds, "seed"), folder_->path().string(),
        validation_ > 0
            ? fmt::format("{} images held out of {}'s training set", with_commas(validation_), data_.name)
            : std::string("no held-out images (--validation 0)")));
    if (const std::int64_t before = done(); before > 0)
      printer_.line(fmt::format("{} of {} runs are done already", before, runs()));
  }

  /// Seed by seed, so that what an interruption leaves can be compared. False when a signal ended it.
  bool run_all() {
    std::int64_t number = 0;
    for (std::int64_t seed = plan_.first_seed; seed < plan_.first_seed + plan_.seeds; ++seed)
      for (std::size_t setting = 0; setting < settings_.size(); ++setting) {
        ++number;
        if (folder_->run(setting, seed) != nullptr) continue;
        if (InterruptGuard::caught() != 0 || !run_one(setting, seed, number)) return false;
      }
    return true;
  }

  /// Where a run lies, and how to begin it: anew, or where an interruption left it.
  std::vector<std::string> place_words(std::size_t setting, std::int64_t seed) const {
    if (flags_.train.no_save) return {"--no-save"};
    const fs::path place = folder_->path() / SweepFolder::run_name(setting, seed);
    std::error_code error;
    if (fs::exists(place / "last.safetensors", error)) return {"--resume=" + place.string()};
    fs::remove_all(place, error);  // of a run that was killed before it saved anything
    return {"--run-dir=" + place.string()};
  }

  bool run_one(std::size_t setting, std::int64_t seed, std::int64_t number) {
    const std::string text = describe(axes_, settings_[setting]);
    const std::string title =
        fmt::format("run {}/{}  {}{}seed {}", number, runs(), text, text.empty() ? "" : "  ", seed);
    nlohmann::json record = {{"settings", setting_json(setting)},
                             {"failed", nullptr},
                             {"run_dir", nullptr},
                             {"quern_version", version()}};
    if (!flags_.train.no_save) record["run_dir"] = SweepFolder::run_name(setting, seed).string();
    std::string outcome;
    printer_.enter(title);
    try {
      const TrainRun::Fitted fitted =
          TrainRun(request(setting, seed, place_words(setting, seed)), printer_, &data_).fit();
      if (fitted.reason == StopReason::requested) {
        printer_.leave();
        return false;
      }
      outcome = take(fitted, record);
    } catch (const Error& error) {
      printer_.leave();
      // Numbers that grew beyond all bounds are a result; all else ends the sweep.
      if (error.kind() != ErrorKind::check) throw located(setting, error);
      record["failed"] = error.what();
      outcome = fmt::format("failed: {}", error.what());
    }
    printer_.leave();
    folder_->add_run(setting, seed, std::move(record));
    printer_.line(fmt::format("{}  {}", title, outcome));
    return true;
  }

  /// Fills the record in and gives the end of the run's line.
  std::string take(const TrainRun::Fitted& fitted, nlohmann::json& record) const {
    const nlohmann::json& result = fitted.result;
    for (const char* key : {"model", "device", "threads", "precision", "epochs_done", "steps", "parameters",
                            "train_seconds", "weights_hash", "skipped_steps", "stopped_early"})
      record[key] = result.at(key);
    record["validation_images"] = validation_;
    record["validation_accuracy"] = nullptr;
    record["best_epoch"] = nullptr;
    record["train_accuracy"] = nullptr;
    if (result.contains("best_epoch")) {
      record["validation_accuracy"] = result.at("best_validation_accuracy");
      record["best_epoch"] = result.at("best_epoch");
    }
    std::string text;
    if (fitted.last) {
      record["train_accuracy"] = fitted.last->train_accuracy;
      if (fitted.last->validation_accuracy)
        record["last_validation_accuracy"] = *fitted.last->validation_accuracy;
      text = fmt::format("training accuracy {}  ", percent(fitted.last->train_accuracy));
    }
    if (const auto accuracy = number_in(record, "validation_accuracy"))
      text += fmt::format("validation accuracy {} (epoch {})  ", percent(*accuracy),
                          result.at("best_epoch").get<std::int64_t>());
    return text + fmt::format("{:.2f} s", result.at("train_seconds").get<double>());
  }

  nlohmann::json setting_json(std::size_t setting) const {
    nlohmann::json json = nlohmann::json::object();
    for (std::size_t i = 0; i < axes_.size(); ++i) json[title(axes_[i])] = settings_[setting][i];
    return json;
  }

  void print_advice(const Standing& best) {
    if (best.seeds.empty()) {
      printer_.line("\nevery run failed: see the messages above, and lower --lr or set --clip-norm");
      return;
    }
    if (validation_ > 0)
      printer_.line(fmt::format(
          "\nvalidation accuracy, over seeds, of the best epoch; std error: what chance moves a share "
          "of {} images by",
          with_commas(validation_)));
    if (axes_.empty()) return;
    std::vector<std::string> words;
    for (const std::string& word : plan_.flags) words.push_back(shell_word(word));
    for (const std::string& word : words_of(axes_, settings_[best.setting]))
      words.push_back(shell_word(word));
    printer_.line(fmt::format("best by validation: {}\n  quern train {}",
                              describe(axes_, settings_[best.setting]), fmt::join(words, " ")));
  }

  /// The one look at the test set: when all is decided, at the best setting's networks.
  nlohmann::json final_test(const Standing& best) {
    std::optional<Dataset> data;  // loaded when the first network needs it
    std::vector<double> accuracies;
    nlohmann::json list = nlohmann::json::array();
    std::int64_t images = 0;
    for (const std::int64_t seed : best.seeds) {
      if (folder_->test(best.setting, seed) == nullptr) {
        const TrainRequest asked = request(best.setting, seed, {"--no-save"});
        if (!data) data = load_dataset(asked.run.data);
        folder_->add_test(best.setting, seed, test_one(best.setting, seed, asked.session, data->test));
      }
      const nlohmann::json& record = *folder_->test(best.setting, seed);
      const auto accuracy = number_in(record, "accuracy"), count = number_in(record, "images");
      if (!accuracy || !count)
        fail_input("{}: the record of seed {} lacks 'accuracy' or 'images': delete the line",
                   (folder_->path() / "tests.jsonl").string(), seed);
      accuracies.push_back(*accuracy);
      images = static_cast<std::int64_t>(*count);
      list.push_back(record);
    }
    const Spread spread = spread_of(accuracies);
    printer_.line("\n" +
                  spread_table(describe(axes_, settings_[best.setting]), "test accuracy", spread, images));
    nlohmann::json json = to_json(spread, images);
    json["settings"] = setting_json(best.setting);
    json["runs"] = std::move(list);
    return json;
  }

  nlohmann::json test_one(std::size_t setting, std::int64_t seed, const SessionOptions& options,
                          const Split& images) const {
    const fs::path run = folder_->path() / SweepFolder::run_name(setting, seed);
    const std::int64_t count = limit_test_ > 0 ? std::min(limit_test_, images.count) : images.count;
    const fs::path path = find_checkpoint(run, /*resume=*/false);
    const Opinion opinion = ask(load_checkpoint(path), options, images, "the test set", count);
    return {{"images", opinion.evaluation.count},
            {"correct", opinion.evaluation.correct},
            {"accuracy", opinion.evaluation.accuracy},
            {"loss", opinion.evaluation.loss},
            {"checkpoint", path.lexically_relative(folder_->path()).string()},
            {"device", opinion.device},
            {"quern_version", version()}};
  }

  void print_json(const std::vector<Standing>& standings, const nlohmann::json& test,
                  bool interrupted) const {
    nlohmann::json list = nlohmann::json::array();
    for (const Standing& standing : standings)
      list.push_back({{"setting", standing.setting + 1},
                      {"settings", setting_json(standing.setting)},
                      {"seeds", standing.seeds},
                      {"failed", standing.failed},
                      {"validation", to_json(spread_of(standing.validation), validation_)},
                      {"validation_accuracies", standing.validation},
                      {"training", to_json(spread_of(standing.training), 0)}});
    nlohmann::json json = {{"sweep_dir", folder_->path().string()},
                           {"data", data_.name},
                           {"flags", plan_.flags},
                           {"vary", plan_.vary},
                           {"random", plan_.random},
                           {"seeds", plan_.seeds},
                           {"runs", runs()},
                           {"runs_done", done()},
                           {"interrupted", interrupted},
                           {"ranking", std::move(list)},
                           {"test", test},
                           {"quern_version", version()}};
    fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }

  const SweepFlags& flags_;
  ProgressPrinter printer_;
  SweepPlan plan_;
  std::vector<Axis> axes_;
  std::vector<Setting> settings_;
  Dataset data_;  ///< its test set is not loaded
  std::int64_t validation_ = 0, limit_test_ = 0;
  std::optional<SweepFolder> folder_;
};

}  // namespace

void add_sweep(CLI::App& app, int& status) {
  auto flags = std::make_shared<SweepFlags>();
  CLI::App* command = app.add_subcommand(
      "sweep", "Train many settings over several seeds and rank them by validation accuracy");
  flags->train.add_to(*command);
  for (const char* name : kNotInSweeps) command->remove_option(command->get_option(name));
  command
      ->add_option(
          "--vary", flags->vary,
          "What differs: FLAG=A,B,... or spec:FIELD=A,B,... (see train --set); with --random also "
          "FLAG=log:LOW..HIGH, uniform:... or int:...; may be repeated; without it one setting is trained")
      ->allow_extra_args(false)
      ->take_all()
      ->group("Sweep");
  command
      ->add_option(
          "--seeds", flags->seeds,
          fmt::format("Seeds each setting is trained with, from --seed on (default {})", kDefaultSeeds))
      ->group("Sweep");
  command->add_option("--random", flags->random, "Draw N settings instead of training all combinations")
      ->group("Sweep");
  command->add_option("--search-seed", flags->search_seed, "Of what --random draws (default 1)")
      ->group("Sweep");
  command
      ->add_option(
          "--dir", flags->dir,
          "Folder of the sweep (default sweeps/<time>-<model>); one that holds a sweep goes on with it")
      ->group("Sweep");
  command
      ->add_flag("--final-test", flags->final_test,
                 "When all runs are done, evaluate the best setting's networks on the test set, once each")
      ->group("Sweep");
  command->callback([flags, command, &status] {
    const InterruptGuard guard;
    status = Sweep(*flags, *command).execute();
  });
}

}  // namespace quern::cli
