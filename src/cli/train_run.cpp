#include "cli/train_run.hpp"

#include <cmath>

#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/interrupt.hpp"
#include "cli/step_check.hpp"
#include "io/text.hpp"
#include "quern/file.hpp"
#include "quern/report.hpp"
#include "quern/version.hpp"
#include "report/run_recorder.hpp"
#include "train/nonfinite.hpp"
#include "train/run_json.hpp"

namespace quern::cli {
namespace fs = std::filesystem;

/// Prints, records and saves; asks the trainer to stop when a signal came.
class RunObserver final : public TrainObserver {
 public:
  RunObserver(Trainer& trainer, ProgressPrinter& printer, RunSaver* saver, std::int64_t epochs,
              const RunFolder* folder)
      : trainer_(trainer), printer_(printer), saver_(saver), epochs_(epochs) {
    if (folder != nullptr)
      record([&] { recorder_.emplace(folder->path(), trainer.steps_per_epoch(), trainer.state().step); });
  }

  void on_progress(const TrainProgress& progress) override {
    printer_.update(progress);
    if (recorder_) record([&] { recorder_->progress(progress); });
  }
  void on_epoch(const EpochResult& result) override {
    printer_.line(format_epoch(result, epochs_));
    printer_.epoch(result);
    last_ = result;
    if (saver_ == nullptr) return;
    last_good_ = trainer_.checkpoint();
    if (recorder_) record([&] { recorder_->epoch(result, *last_good_); });
    saver_->epoch(result, *last_good_);
  }
  void on_skipped(const SkippedSteps& skipped) override {
    if (told_of_skips_ == kSkipLines) return;
    const char* rest = ++told_of_skips_ == kSkipLines ? "; more are only counted" : "";
    const bool one = skipped.steps == 1;
    printer_.line(fmt::format(
        "epoch {}, step {}: {} whose loss or gradients are not finite {} skipped, no weight changed; {} in "
        "all{}",
        skipped.epoch, skipped.step_in_epoch, one ? "a step" : fmt::format("{} steps", skipped.steps),
        one ? "was" : "were", skipped.total, rest));
  }
  bool stop_requested() override {
    if (startup_seconds_ < 0)
      startup_seconds_ = seconds_since_start();
    else if (!first_step_seconds_)
      first_step_seconds_ = seconds_since_start();
    return InterruptGuard::caught() != 0;
  }
  /// From the start of the process to its first step; 0 if it made none.
  double startup_seconds() const { return std::max(0.0, startup_seconds_); }
  /// From the start of the process to the end of its first step, where the device works while it is waited
  /// for and there was a second step.
  std::optional<double> first_step_seconds() const { return first_step_seconds_; }
  /// The last epoch that ended.
  const std::optional<EpochResult>& last() const { return last_; }
  /// What the last epoch left; none before its end, or when nothing is saved.
  const std::optional<Checkpoint>& last_good() const { return last_good_; }

 private:
  /// A disk that cannot take the curves does not end the run: they stop.
  template <class Action>
  void record(Action action) {
    try {
      action();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::device) throw;
      recorder_.reset();
      printer_.line(fmt::format("note: {}; the curves of this run end here", error.what()));
    }
  }

  Trainer& trainer_;
  ProgressPrinter& printer_;
  RunSaver* saver_;
  std::int64_t epochs_;
  std::optional<RunRecorder> recorder_;
  std::optional<EpochResult> last_;
  std::optional<Checkpoint> last_good_;
  double startup_seconds_ = -1;
  std::optional<double> first_step_seconds_;
  static constexpr int kSkipLines = 5;
  int told_of_skips_ = 0;
};

namespace {

std::optional<RunFolder> open_folder(const TrainRequest& request) {
  if (request.no_save) return std::nullopt;
  if (request.run_dir) return RunFolder::create_at(*request.run_dir);
  if (request.resumed && RunFolder::is_run(request.resumed_from.parent_path()))
    return RunFolder::reopen(request.resumed_from.parent_path(), request.resumed->state.epoch);
  return RunFolder::create("runs", request.spec.name);
}

}  // namespace

TrainRun::TrainRun(TrainRequest request, ProgressPrinter& printer, const Dataset* data)
    : request_(std::move(request)),
      printer_(printer),
      loading_(data != nullptr
                   ? std::future<std::unique_ptr<const Dataset>>()
                   : std::async(std::launch::async,
                                [this] {
                                  return std::make_unique<const Dataset>(load_dataset(request_.run.data));
                                })),
      session_(request_.spec, request_.session),
      data_(data) {}

TrainRun::~TrainRun() = default;

int TrainRun::execute(bool json_output) {
  Fitted fitted = train_and_save();
  const int status =
      fitted.reason == StopReason::requested ? report_interruption() : report_test(fitted.result);
  if (json_output) fmt::print("{}\n", fitted.result.dump());
  if (unsaved_) throw *unsaved_;
  return status;
}

TrainRun::Fitted TrainRun::fit() {
  Fitted fitted = train_and_save();
  if (unsaved_) throw *unsaved_;
  return fitted;
}

TrainRun::Fitted TrainRun::train_and_save() {
  if (data_ == nullptr) {
    own_data_ = loading_.get();
    data_ = own_data_.get();
  }
  request_.run.class_names = data_->class_names;
  images_.emplace(session_, data_->train, "the training set");
  trainer_.emplace(session_, *images_, request_.run);
  if (request_.resumed) restore();
  folder_ = open_folder(request_);
  if (folder_) {
    folder_->write_config(config());
    folder_->write_plan(trainer_->plan());
    saver_.emplace(*folder_, [this](const std::string& message) { printer_.complaint(message); });
  }
  print_header();

  if (request_.profile_steps)
    trainer_->set_profile_window(request_.profile_steps->first, request_.profile_steps->second);
  RunObserver observer(*trainer_, printer_, saver_ ? &*saver_ : nullptr, request_.spec.recipe.epochs,
                       folder_ ? &*folder_ : nullptr);
  std::optional<StepCheck> check;
  if (request_.check_every > 0) check.emplace(session_, *trainer_, request_.check_every);
  if (request_.tui) begin_view(check.has_value());
  StopReason reason;
  try {
    reason = train(observer, check);
  } catch (...) {
    printer_.end_view();  // which looks at the session
    throw;
  }
  printer_.last_picture();
  printer_.end_view();
  unsaved_ = save(reason);
  nlohmann::json result = describe(reason);
  if (check) result["check"] = check->json();
  result["startup_seconds"] = observer.startup_seconds();
  const std::optional<double> first = observer.first_step_seconds();
  if (first && session_.device().info().kind != DeviceKind::cuda) result["first_step_seconds"] = *first;
  result["peak_rss_mib"] = peak_rss_mib();
  return {reason, std::move(result), observer.last()};
}

/// What the live check found is shown and kept, whether or not it ended the run.
StopReason TrainRun::train(RunObserver& observer, const std::optional<StepCheck>& check) {
  const auto report = [&] {
    if (!check) return;
    const std::string table = check->table();
    printer_.line(table.substr(0, table.size() - 1));
    if (folder_) write_file_atomically(folder_->path() / "check.json", check->json().dump(1) + "\n");
  };
  try {
    const StopReason reason = trainer_->run(observer);
    report();
    return reason;
  } catch (const Error& error) {
    if (saver_) saver_->try_flush();
    report();
    if (error.kind() != ErrorKind::check || (check && check->failed())) throw;
    explain_nonfinite(observer, error);
    throw;
  }
}

/// Goes back to where all was well and names the node by which it ended.
void TrainRun::explain_nonfinite(const RunObserver& observer, const Error& error) {
  const std::optional<Checkpoint>& good = observer.last_good() ? observer.last_good() : request_.resumed;
  const auto found = find_nonfinite(session_, *images_, request_.run, good, trainer_->state().step);
  if (found) throw Error(error.kind(), fmt::format("{}; {}", error.what(), quern::describe(*found)));
}

void TrainRun::begin_view(bool watched) {
  if (const std::string absence = Screen::absence(); !absence.empty())
    return printer_.line(fmt::format("note: --tui draws on a terminal, but {}: going on without", absence));
  std::string title = fmt::format("{}: {} parameters, on {} ({}), {}", request_.spec.name,
                                  with_commas(trainer_->parameters()), session_.device_name(),
                                  session_.device().info().name, data_->name);
  printer_.begin_view(std::make_unique<LiveView>(printable(title), session_, *trainer_, watched));
}

nlohmann::json TrainRun::config() {
  return {{"quern_version", version()},
          {"created", utc_time()},
          {"command_line", command_line()},
          {"compiler", __VERSION__},
          {"model", to_json(request_.spec)},
          {"run", to_json(trainer_->settings())},
          {"data_path", data_->path.string()},
          {"device_name", session_.device().info().name},
          {"rng", kRandomScheme},
          {"parameters", trainer_->parameters()}};
}

/// The weights of a resumed run's best epoch lie beside its checkpoint. Without them the search for the
/// best starts anew.
void TrainRun::restore() {
  Checkpoint& checkpoint = *request_.resumed;
  if (checkpoint.state.best_epoch > 0) {
    const fs::path path = request_.resumed_from.parent_path() / "best.safetensors";
    std::error_code ignored;
    std::optional<Checkpoint> best;
    if (fs::exists(path, ignored)) best = load_checkpoint(path);
    if (best && best->state.best_epoch == checkpoint.state.best_epoch) {
      trainer_->set_best_weights(best->ema.empty() ? std::move(best->weights) : std::move(best->ema));
    } else {
      printer_.line(
          fmt::format("note: {} does not hold the weights of the best epoch ({}): the best is chosen among "
                      "the epochs to come",
                      path.string(), checkpoint.state.best_epoch));
      checkpoint.state.best_epoch = 0;
    }
  }
  trainer_->restore(checkpoint);
}

void TrainRun::print_header() {
  const DeviceInfo& info = session_.device().info();
  if (const std::string note = fallback_note(request_.session.device); !note.empty()) printer_.line(note);
  const std::string threads = info.kind == DeviceKind::cuda
                                  ? ""
                                  : fmt::format(", {} thread{}", info.threads, info.threads == 1 ? "" : "s");
  const std::string precision =
      session_.precision() == Precision::fp32 ? "" : fmt::format(", {}", to_string(session_.precision()));
  printer_.line(fmt::format("{}: {} parameters, on {} ({}{}{})", request_.spec.name,
                            with_commas(trainer_->parameters()), session_.device_name(), info.name, threads,
                            precision));
  const std::string held_out = trainer_->validation_images() > 0
                                   ? fmt::format(", {} held out", with_commas(trainer_->validation_images()))
                                   : "";
  printer_.line(fmt::format("{}: {} training images{}, batch {}, {} steps an epoch, seed {}", data_->name,
                            with_commas(trainer_->training_images()), held_out,
                            request_.spec.recipe.batch_size, trainer_->steps_per_epoch(),
                            trainer_->settings().seed));
  if (!request_.resumed) return;
  const RunSettings &then = request_.resumed->run, &now = trainer_->settings();
  if (now.device != then.device || now.threads != then.threads || now.precision != then.precision ||
      now.fuse != then.fuse || now.impls != then.impls ||
      now.allow_nondeterministic != then.allow_nondeterministic)
    printer_.line(
        fmt::format("note: the run began on {} with {} threads in {}{}: on other terms it goes on, but not "
                    "bit for bit",
                    then.device, then.threads, then.precision, then.fuse ? "" : ", unfused"));
  printer_.line(fmt::format("resumed after {} epochs and {} of {} steps", trainer_->state().epoch,
                            trainer_->state().step_in_epoch, trainer_->steps_per_epoch()));
}

/// What the epochs have not saved already: an epoch cut short; without validation, the last epoch as the
/// best.
/// Gives the error of what could not be written, so that the test set is looked at before the run fails.
std::optional<Error> TrainRun::save(StopReason reason) {
  if (!saver_) return {};
  const bool interrupted = reason == StopReason::requested, unjudged = trainer_->state().best_epoch == 0;
  if (interrupted || unjudged) saver_->set_last(trainer_->checkpoint());
  if (!interrupted && unjudged) saver_->set_best(trainer_->checkpoint());
  try {
    saver_->flush();
  } catch (const Error& error) {
    return error;
  }
  return {};
}

nlohmann::json TrainRun::describe(StopReason reason) {
  const TrainState& state = trainer_->state();
  const TrainTimes times = trainer_->times();
  const bool interrupted = reason == StopReason::requested;
  nlohmann::json json = {{"model", request_.spec.name},
                         {"device", session_.device_name()},
                         {"device_name", session_.device().info().name},
                         {"threads", session_.device().info().threads},
                         {"precision", to_string(session_.precision())},
                         {"data", request_.run.data},
                         {"seed", request_.run.seed},
                         {"epochs", request_.spec.recipe.epochs},
                         {"epochs_done", state.epoch},
                         {"steps", state.step},
                         {"batch_size", request_.spec.recipe.batch_size},
                         {"parameters", trainer_->parameters()},
                         {"train_seconds", times.seconds},
                         {"ms_per_step", times.ms_per_step},
                         {"ms_per_step_median", times.ms_per_step_median},
                         {"images_per_second", times.images_per_second},
                         {"weights_hash", weights_hash(session_.layout(), session_.weights())},
                         {"on_nan", request_.run.skip_nonfinite ? "skip" : "stop"},
                         {"skipped_steps", state.skipped},
                         {"stopped_early", state.stopped_early},
                         {"interrupted", interrupted},
                         {"test_accuracy", nullptr},
                         {"test_loss", nullptr},
                         {"checkpoint", nullptr},
                         {"run_dir", nullptr},
                         {"quern_version", version()}};
  if (folder_) {
    const bool chosen = !interrupted && !trainer_->best_weights().empty();
    json["run_dir"] = folder_->path().string();
    json["checkpoint"] = (chosen ? folder_->best() : folder_->last()).string();
  }
  if (state.best_epoch > 0) {
    json["best_epoch"] = state.best_epoch;
    json["best_validation_accuracy"] = state.best_accuracy;
  }
  return json;
}

int TrainRun::report_interruption() {
  printer_.line(fmt::format("interrupted in epoch {} after {} of {} steps", trainer_->state().epoch + 1,
                            trainer_->state().step_in_epoch, trainer_->steps_per_epoch()));
  if (!unsaved_)
    printer_.line(folder_ ? fmt::format("saved {}; go on with: quern train --resume {}",
                                        folder_->last().string(), folder_->path().string())
                          : "nothing was saved (--no-save)");
  return 128 + InterruptGuard::caught();
}

/// The one look at the test set, with the weights of the best epoch where validation chose one.
int TrainRun::report_test(nlohmann::json& result) {
  const std::vector<float>& chosen = trainer_->best_weights();
  if (!chosen.empty())
    session_.upload(session_.evaluation_weights(), chosen.data(), chosen.size() * sizeof(float));
  const std::int64_t limit = request_.run.limit_test, count = data_->test.count;
  const DeviceImages images(session_, data_->test, "the test set");
  const Evaluation test =
      Evaluator(session_, images, first_indices(limit > 0 ? std::min(limit, count) : count))
          .run(/*keep_logits=*/folder_.has_value());
  result["test_accuracy"] = test.accuracy;
  result["test_loss"] = test.loss;

  const TrainTimes times = trainer_->times();
  const TrainState& state = trainer_->state();
  if (state.stopped_early)
    printer_.line(
        fmt::format("stopped early: no lower validation loss for {} epochs", state.epochs_since_lowest));
  printer_.line(fmt::format("trained in {:.2f} s: {:.3f} ms a step (median {:.3f}), {:.0f} images/s",
                            times.seconds, times.ms_per_step, times.ms_per_step_median,
                            times.images_per_second));
  printer_.line(fmt::format(
      "test accuracy {} ({} of {}), loss {:.5f}{}", percent(test.accuracy), test.correct, test.count,
      test.loss, chosen.empty() ? "" : fmt::format(", with the weights of epoch {}", state.best_epoch)));
  if (folder_ && !unsaved_) {
    write_report(test);
    printer_.line(
        fmt::format("saved in {}{}", folder_->path().string(), unsaved_ ? "" : "; look at its report.html"));
  }
  if (!std::isfinite(test.loss)) {
    fmt::print(stderr, "quern: the test loss is not finite: lower --lr or set --clip-norm\n");
    return exit_status(ErrorKind::check);
  }
  if (!request_.required_accuracy || test.accuracy >= *request_.required_accuracy) return 0;
  fmt::print(stderr, "quern: test accuracy {:.4f} is below the required {:.4f}\n", test.accuracy,
             *request_.required_accuracy);
  return exit_status(ErrorKind::check);
}

void TrainRun::write_report(const Evaluation& test) {
  const fs::path& folder = folder_->path();
  try {
    save_test_record(folder / "test.json",
                     make_test_record(test, data_->test, data_->name, data_->class_names));
    write_file_atomically(folder / "report.html", render_report({&folder, 1}));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    unsaved_ = error;
  }
}

}  // namespace quern::cli
