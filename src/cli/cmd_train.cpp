#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/interrupt.hpp"
#include "cli/progress.hpp"
#include "cli/train_flags.hpp"
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/trainer.hpp"
#include "quern/version.hpp"
#include "train/run_folder.hpp"
#include "train/run_json.hpp"

namespace quern::cli {
namespace fs = std::filesystem;
namespace {

/// Prints, records and saves; asks the trainer to stop when a signal came.
class RunObserver final : public TrainObserver {
 public:
  RunObserver(Trainer& trainer, ProgressPrinter& printer, const RunFolder* folder, std::int64_t epochs)
      : trainer_(trainer), printer_(printer), folder_(folder), epochs_(epochs) {}

  void on_progress(const TrainProgress& progress) override { printer_.update(progress); }
  void on_epoch(const EpochResult& result) override {
    printer_.line(format_epoch(result, epochs_));
    if (folder_ == nullptr) return;
    folder_->append(result);
    const Checkpoint checkpoint = trainer_.checkpoint();
    // best first: if the process dies between the two, the epoch is done again.
    if (result.best) save_checkpoint(folder_->best(), checkpoint);
    save_checkpoint(folder_->last(), checkpoint);
  }
  bool stop_requested() override {
    if (startup_seconds_ < 0) startup_seconds_ = seconds_since_start();
    return InterruptGuard::caught() != 0;
  }
  /// From the start of the process to its first step.
  double startup_seconds() const { return std::max(0.0, startup_seconds_); }

 private:
  Trainer& trainer_;
  ProgressPrinter& printer_;
  const RunFolder* folder_;
  std::int64_t epochs_;
  double startup_seconds_ = -1;
};

nlohmann::json config_json(const TrainRequest& request, Session& session, const Trainer& trainer,
                           const Dataset& data) {
  return {{"quern_version", version()},
          {"created", utc_time()},
          {"command_line", command_line()},
          {"compiler", __VERSION__},
          {"model", to_json(request.spec)},
          {"run", to_json(trainer.settings())},
          {"data_path", data.path.string()},
          {"device_name", session.device().info().name},
          {"rng", kRandomScheme},
          {"parameters", trainer.parameters()}};
}

std::optional<RunFolder> open_folder(const TrainRequest& request) {
  if (request.no_save) return std::nullopt;
  if (request.run_dir) return RunFolder::create_at(*request.run_dir);
  if (request.resumed && RunFolder::is_run(request.resumed_from.parent_path()))
    return RunFolder::reopen(request.resumed_from.parent_path(), request.resumed->state.epoch);
  return RunFolder::create("runs", request.spec.name);
}

/// The weights of a resumed run's best epoch, which lies before it. Without them the search for the best
/// starts anew.
void restore(Trainer& trainer, TrainRequest& request, ProgressPrinter& printer) {
  Checkpoint& checkpoint = *request.resumed;
  if (checkpoint.state.best_epoch > 0) {
    const fs::path path = request.resumed_from.parent_path() / "best.safetensors";
    std::error_code ignored;
    std::optional<Checkpoint> best;
    if (fs::exists(path, ignored)) best = load_checkpoint(path);
    if (best && best->state.best_epoch == checkpoint.state.best_epoch) {
      trainer.set_best_weights(best->ema.empty() ? std::move(best->weights) : std::move(best->ema));
    } else {
      printer.line(fmt::format(
          "note: the weights of the best epoch ({}) are not in {}: the best is chosen among the epochs "
          "to come",
          checkpoint.state.best_epoch, path.parent_path().string()));
      checkpoint.state.best_epoch = 0;
    }
  }
  trainer.restore(checkpoint);
}

/// The one look at the test set, with the weights of the best epoch where validation chose one.
Evaluation evaluate_test(Session& session, const Trainer& trainer, const Split& test, std::int64_t limit) {
  if (!trainer.best_weights().empty())
    session.upload(session.evaluation_weights(), trainer.best_weights().data(),
                   trainer.best_weights().size() * sizeof(float));
  const DeviceImages images(session, test, "the test set");
  return Evaluator(session, images, first_indices(limit > 0 ? std::min(limit, test.count) : test.count))
      .run();
}

void print_header(ProgressPrinter& printer, Session& session, const Trainer& trainer, const Dataset& data) {
  const ModelSpec& spec = session.spec();
  const DeviceInfo& info = session.device().info();
  const std::string threads = info.kind == DeviceKind::cuda ? "" : fmt::format(", {} threads", info.threads);
  printer.line(fmt::format("{}: {} parameters, on {} ({}{})", spec.name, with_commas(trainer.parameters()),
                           session.device_name(), info.name, threads));
  const std::string held_out = trainer.validation_images() > 0
                                   ? fmt::format(", {} held out", with_commas(trainer.validation_images()))
                                   : "";
  printer.line(fmt::format("{}: {} training images{}, batch {}, {} steps an epoch, seed {}", data.name,
                           with_commas(trainer.training_images()), held_out, spec.recipe.batch_size,
                           trainer.steps_per_epoch(), trainer.settings().seed));
}

int run_train(const TrainFlags& flags) {
  const InterruptGuard guard;
  TrainRequest request = flags.request();
  ProgressPrinter printer(flags.output.json ? stderr : stdout, flags.output.quiet);
  for (const std::string& note : request.notes) printer.line("note: " + note);

  const Dataset data = load_dataset(request.run.data);
  request.run.class_names = data.class_names;
  Session session(request.spec, request.session);
  const DeviceImages images(session, data.train, "the training set");
  Trainer trainer(session, images, request.run);
  if (request.resumed) restore(trainer, request, printer);

  const std::optional<RunFolder> folder = open_folder(request);
  if (folder) {
    folder->write_config(config_json(request, session, trainer, data));
    folder->write_plan(trainer.plan());
  }
  print_header(printer, session, trainer, data);
  if (request.resumed)
    printer.line(fmt::format("resumed at epoch {}, step {} of {}", trainer.state().epoch + 1,
                             trainer.state().step_in_epoch, trainer.steps_per_epoch()));

  const std::int64_t epochs = request.spec.recipe.epochs;
  RunObserver observer(trainer, printer, folder ? &*folder : nullptr, epochs);
  const StopReason reason = trainer.run(observer);
  const TrainTimes times = trainer.times();
  const TrainState& state = trainer.state();
  if (folder && (reason == StopReason::requested || state.best_epoch == 0)) {
    const Checkpoint checkpoint = trainer.checkpoint();
    save_checkpoint(folder->last(), checkpoint);
    // Without validation the last epoch is the best known.
    if (reason != StopReason::requested && state.best_epoch == 0) save_checkpoint(folder->best(), checkpoint);
  }

  const bool chosen = !trainer.best_weights().empty();
  nlohmann::json json = {{"model", request.spec.name},
                         {"device", session.device_name()},
                         {"device_name", session.device().info().name},
                         {"threads", session.device().info().threads},
                         {"data", request.run.data},
                         {"seed", request.run.seed},
                         {"epochs", epochs},
                         {"epochs_done", state.epoch},
                         {"steps", state.step},
                         {"batch_size", request.spec.recipe.batch_size},
                         {"parameters", trainer.parameters()},
                         {"startup_seconds", observer.startup_seconds()},
                         {"train_seconds", times.seconds},
                         {"ms_per_step", times.ms_per_step},
                         {"ms_per_step_median", times.ms_per_step_median},
                         {"images_per_second", times.images_per_second},
                         {"weights_hash", weights_hash(session.layout(), session.weights())},
                         {"stopped_early", state.stopped_early},
                         {"interrupted", reason == StopReason::requested},
                         {"test_accuracy", nullptr},
                         {"test_loss", nullptr},
                         {"checkpoint", nullptr},
                         {"run_dir", nullptr},
                         {"quern_version", version()}};
  if (folder) {
    json["run_dir"] = folder->path().string();
    json["checkpoint"] =
        (reason != StopReason::requested && chosen ? folder->best() : folder->last()).string();
  }
  if (state.best_epoch > 0) {
    json["best_epoch"] = state.best_epoch;
    json["best_validation_accuracy"] = state.best_accuracy;
  }
  if (state.stopped_early)
    printer.line(
        fmt::format("stopped early: no lower validation loss for {} epochs", state.epochs_since_lowest));

  int status = 0;
  std::string complaint;
  if (reason == StopReason::requested) {
    printer.line(fmt::format("interrupted in epoch {} after step {} of {}", state.epoch + 1,
                             state.step_in_epoch, trainer.steps_per_epoch()));
    printer.line(folder ? fmt::format("saved {}; go on with: quern train --resume {}",
                                      folder->last().string(), folder->path().string())
                        : "nothing was saved (--no-save)");
    status = 128 + InterruptGuard::caught();
  } else {
    const Evaluation test = evaluate_test(session, trainer, data.test, request.run.limit_test);
    json["test_accuracy"] = test.accuracy;
    json["test_loss"] = test.loss;
    printer.line(fmt::format("trained in {:.2f} s: {:.3f} ms a step (median {:.3f}), {:.0f} images/s",
                             times.seconds, times.ms_per_step, times.ms_per_step_median,
                             times.images_per_second));
    printer.line(fmt::format("test accuracy {} ({} of {}), loss {:.5f}{}", percent(test.accuracy),
                             test.correct, test.count, test.loss,
                             chosen ? fmt::format(", with the weights of epoch {}", state.best_epoch) : ""));
    if (folder) printer.line(fmt::format("saved in {}", folder->path().string()));
    if (flags.require_accuracy && !(test.accuracy >= *request.required_accuracy)) {
      complaint = fmt::format("test accuracy {:.4f} is below the required {:.4f}", test.accuracy,
                              *request.required_accuracy);
      status = exit_status(ErrorKind::check);
    }
  }
  if (flags.output.json) fmt::print("{}\n", json.dump());
  if (!complaint.empty()) {
    std::fflush(stdout);
    fmt::print(stderr, "quern: {}\n", complaint);
  }
  return status;
}

}  // namespace

void add_train(CLI::App& app, int& status) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* command = app.add_subcommand("train", "Train a model and report its test accuracy");
  flags->add_to(*command);
  command->callback([flags, &status] { status = run_train(*flags); });
}

}  // namespace quern::cli
