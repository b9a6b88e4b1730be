#pragma once

/// The trainer: walks the training plan over the epochs of a recipe. It sees the training set alone; the test
/// set is evaluated by whoever owns it, when training is over.
///
///   DeviceImages images(session, dataset.train, "the training set");
///   RunSettings run;
///   run.seed = 1;
///   Trainer trainer(session, images, run);
///   TrainObserver silent;
///   trainer.run(silent);
///   save_checkpoint("last.safetensors", trainer.checkpoint());
///
/// A step is one walk of the plan: the scalars of the next one move on with it, on the device. On a GPU whole
/// stretches of steps are queued, each before the last one is done; inside an epoch nothing is allocated and
/// the GPU never waits for the host. A run depends on the model spec, its recipe and the settings
/// alone: the same again gives the same bits, and so does a run that was stopped and restored at any step.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quern/checkpoint.hpp"
#include "quern/session.hpp"

namespace quern {

struct TrainProgress {
  std::int64_t epoch = 0, epochs = 0;  ///< from 1
  std::int64_t step_in_epoch = 0, steps_per_epoch = 0;
  double loss = 0, accuracy = 0;  ///< running means of the epoch
  double images_per_second = 0;   ///< of the epoch, by this process
  double seconds_left = 0;        ///< of training, at this speed
};

struct EpochResult {
  std::int64_t epoch = 0;                     ///< from 1
  std::int64_t step = 0;                      ///< optimizer steps done so far
  double train_loss = 0, train_accuracy = 0;  ///< means over the epoch's batches, as they were trained
  std::optional<double> validation_loss, validation_accuracy;
  double learning_rate = 0;  ///< of the epoch's last step
  double seconds = 0;        ///< of training in this process; evaluation and saving excluded
  double images_per_second = 0;
  bool best = false;  ///< the best validation accuracy so far
  std::int64_t skipped =
      0;  ///< steps of this epoch, by this process, that were not finite and updated nothing
};

/// Steps whose loss or gradients were not finite, under RunSettings::skip_nonfinite.
struct SkippedSteps {
  std::int64_t epoch = 0, step_in_epoch = 0;  ///< from 1: the last step that was looked at
  std::int64_t steps = 0;                     ///< new ones, all after the last report
  std::int64_t total = 0;                     ///< of the run
};

class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  /// At most ten times a second.
  virtual void on_progress(const TrainProgress&) {}
  /// After every epoch and its validation. Trainer::checkpoint() may be called here.
  virtual void on_epoch(const EpochResult&) {}
  /// When steps were skipped; on a GPU after the stretch of steps in which they were.
  virtual void on_skipped(const SkippedSteps&) {}
  /// Asked before every step, on a GPU before every stretch of about 50 ms; true ends run() between two
  /// steps, on a GPU when the two stretches are done that it has already.
  virtual bool stop_requested() { return false; }
};

enum class StopReason { finished, stopped_early, requested };

/// Time spent in training steps by this process.
struct TrainTimes {
  double seconds = 0;
  std::int64_t steps = 0, images = 0;
  double ms_per_step = 0;         ///< mean
  double ms_per_step_median = 0;  ///< over single steps; on a GPU over stretches of them
  double images_per_second = 0;
};

struct EpochTable;
struct SumsSoFar;

class Trainer {
 public:
  /// Splits off the validation images, prepares every executor and draws the initial weights. Of `run`, the
  /// fields seed, data, validation, limit_train, limit_test (kept, not used), early_stop and skip_nonfinite
  /// are read; the others are filled in from the session. Throws input errors: a batch above the training
  /// set, no image left to train on, early_stop without validation.
  Trainer(Session& session, const DeviceImages& images, RunSettings run);
  ~Trainer();

  /// Goes on from a checkpoint of the same model, recipe and settings. Throws an input error when its
  /// position is not one of this run's.
  void restore(const Checkpoint& checkpoint);
  /// Everything as it stands; not to be called from on_progress(). Throws a check error when a weight is not
  /// finite.
  Checkpoint checkpoint();

  /// Has every `every`-th step, the first one included, walked by `walk` instead of by the trainer, for
  /// whoever wants to see its nodes (live_check.hpp). It is given the executor and the number of optimizer
  /// steps done before, and must run the executor exactly once. To be called before run().
  void watch(std::int64_t every, std::function<void(Executor&, std::int64_t step)> walk);

  /// Trains until the recipe's epochs are done, early stopping strikes or the observer asks to stop. Throws a
  /// check error naming epoch and step when a loss is not finite; checkpoints saved before stay as they are.
  /// With RunSettings::skip_nonfinite such a step, or one with such a gradient, counts as done but leaves
  /// weights, running statistics, optimizer and sums as they were; kMostSkippedInARow of them in a row end
  /// training with a check error.
  StopReason run(TrainObserver& observer);

  static constexpr std::int64_t kMostSkippedInARow = 10;

  /// Steps a stretch on a device that works on its own; 0: about 50 ms of them. Results do not depend on it.
  void set_stretch(std::int64_t steps);
  /// Has the device's profiler record the steps from `begin` up to `end` (counted over the run) and nothing
  /// else: Device::profiler_range(). The device has nothing to do when the window opens and when it closes.
  void set_profile_window(std::int64_t begin, std::int64_t end);

  const TrainState& state() const noexcept { return state_; }
  const RunSettings& settings() const noexcept { return run_; }
  std::int64_t training_images() const noexcept { return static_cast<std::int64_t>(partition_.train.size()); }
  std::int64_t validation_images() const noexcept {
    return static_cast<std::int64_t>(partition_.validation.size());
  }
  std::int64_t steps_per_epoch() const noexcept { return steps_per_epoch_; }
  /// Numbers the optimizer trains.
  std::int64_t parameters() const;
  const Plan& plan() const noexcept { return full_->plan(); }
  TrainTimes times() const;

  /// What evaluation used in the best epoch by validation accuracy (the average, where there is one); empty
  /// when there was none in this process.
  const std::vector<float>& best_weights() const noexcept { return best_weights_; }
  /// For a restored run, whose best epoch lies before it.
  void set_best_weights(std::vector<float> weights) { best_weights_ = std::move(weights); }

 private:
  void prepare(const DeviceImages& images);
  bool train_epoch(TrainObserver& observer);
  EpochTable tables(std::int64_t epoch);
  void begin_epoch();
  std::int64_t queue_stretch(std::int64_t from);
  bool at_window(std::int64_t step_in_epoch);
  void take(const SumsSoFar& sums, std::int64_t steps, TrainObserver& observer);
  void finish_epoch(TrainObserver& observer, double seconds, std::int64_t images);
  void report(TrainObserver& observer, double seconds, std::int64_t steps, std::int64_t images) const;
  StepScalars scalars(std::int64_t epoch, std::int64_t step_in_epoch) const;

  Session& session_;
  RunSettings run_;
  TrainState state_;
  Partition partition_;  ///< training images and those held out
  std::int64_t batch_ = 0, steps_per_epoch_ = 0;
  struct Driver;
  std::unique_ptr<Driver> driver_;
  Buffer gradients_, slot1_, slot2_, sums_, order_, steps_, step_;
  Buffer kept_sums_, kept_running_;  ///< where steps may be skipped: what such a step goes back to
  SessionExecutor full_, tail_;
  std::optional<Evaluator> validation_;
  std::vector<float> best_weights_;
  TrainTimes times_;
  std::int64_t skipped_before_ = 0;  ///< the epoch, or this process's part of it
  std::vector<float> step_ms_;
  std::int64_t watch_every_ = 0;  ///< 0: no step is watched
  std::function<void(Executor&, std::int64_t)> watch_;
};

}  // namespace quern
