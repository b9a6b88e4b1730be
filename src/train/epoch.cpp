// One epoch: its tables go to the device, its steps are queued in stretches, its sums come back.

#include <algorithm>
#include <chrono>
#include <cmath>

#include "graph/ranges.hpp"
#include "quern/error.hpp"
#include "train/driver.hpp"

namespace quern {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

constexpr double kProgressSeconds = 0.1;  // between two calls of on_progress

}  // namespace

StepScalars Trainer::scalars(std::int64_t epoch, std::int64_t step_in_epoch) const {
  const Recipe& recipe = session_.spec().recipe;
  const std::int64_t step = epoch * steps_per_epoch_ + step_in_epoch;
  const auto t = static_cast<double>(step);
  StepScalars scalars;
  scalars.seed = run_.seed;
  scalars.step = static_cast<std::uint32_t>(step);
  scalars.order_offset = static_cast<std::uint32_t>(step_in_epoch * batch_);
  scalars.learning_rate =
      static_cast<float>(learning_rate_at(recipe, step, recipe.epochs * steps_per_epoch_, steps_per_epoch_));
  scalars.bias_correction1 = static_cast<float>(1 - std::pow(static_cast<double>(recipe.beta1), t + 1));
  scalars.bias_correction2 = static_cast<float>(1 - std::pow(static_cast<double>(recipe.beta2), t + 1));
  // Warmed up, so that the random start does not weigh in for 1 / (1 - decay) steps.
  scalars.ema_decay = static_cast<float>(std::min(static_cast<double>(recipe.ema_decay), (1 + t) / (10 + t)));
  scalars.epoch = static_cast<std::uint32_t>(epoch);
  scalars.index = static_cast<std::uint32_t>(step_in_epoch);
  return scalars;
}

EpochTable Trainer::tables(std::int64_t epoch) {
  return driver_->tables.of(epoch, [&](std::span<std::uint32_t> order, std::span<StepScalars> steps) {
    const auto shuffled = shuffled_order(partition_.train, run_.seed, static_cast<std::uint32_t>(epoch));
    std::copy(shuffled.begin(), shuffled.end(), order.begin());
    for (std::size_t i = 0; i < steps.size(); ++i) steps[i] = scalars(epoch, static_cast<std::int64_t>(i));
  });
}

void Trainer::begin_epoch() {
  Device& device = session_.device();
  const Stream stream = device.stream();
  const EpochTable table = tables(state_.epoch);
  const auto in_a_row = static_cast<double>(state_.skipped_in_a_row);
  *table.sums = {state_.sums, {0, static_cast<double>(state_.skipped), in_a_row, in_a_row}};
  device.copy_to_device(order_.data(), table.order.data(), order_.size(), stream);
  device.copy_to_device(steps_.data(), table.steps.data(), steps_.size(), stream);
  device.copy_to_device(step_.data(), &table.steps[static_cast<std::size_t>(state_.step_in_epoch)],
                        sizeof(StepScalars), stream);
  device.copy_to_device(sums_.data(), table.sums, sums_.size(), stream);
  if (run_.skip_nonfinite) {
    const auto* weights = static_cast<const std::byte*>(session_.weights_address());
    const auto running = static_cast<std::size_t>(session_.layout().trained_elements) * sizeof(float);
    device.copy_on_device(kept_sums_.data(), sums_.data(), kept_sums_.size(), stream);
    if (kept_running_.size() > 0)
      device.copy_on_device(kept_running_.data(), weights + running, kept_running_.size(), stream);
  }
  driver_->tables.copies_queued(state_.epoch, stream);
  step_ms_.reserve(step_ms_.size() + static_cast<std::size_t>(steps_per_epoch_));
}

/// Gives the device the steps from `from` on, as many as a stretch has; returns how many.
std::int64_t Trainer::queue_stretch(std::int64_t from) {
  const std::int64_t full = training_images() / batch_;  // batches that are
  const std::int64_t first = state_.epoch * steps_per_epoch_ + from;
  Executor& executor = from < full ? *full_ : *tail_;
  std::int64_t steps = std::min(driver_->pace.steps(), from < full ? full - from : 1);
  for (const std::int64_t edge : {driver_->window_begin, driver_->window_end})
    if (edge > first) steps = std::min(steps, edge - first);
  if (watch_every_ > 0)
    steps = std::min(steps, first % watch_every_ == 0 ? 1 : watch_every_ - first % watch_every_);
  if (watch_every_ > 0 && first % watch_every_ == 0)
    watch_(executor, first);
  else
    executor.repeat(steps);
  driver_->in_flight.push(steps, sums_.data());
  return steps;
}

/// Opens or closes the profiler's window where the step is at its edge; true when the device must come to
/// rest first.
bool Trainer::at_window(std::int64_t step_in_epoch) {
  const std::int64_t step = state_.epoch * steps_per_epoch_ + step_in_epoch;
  if (step != driver_->window_begin && step != driver_->window_end) return false;
  if (!driver_->in_flight.empty()) return true;
  session_.device().profiler_range(step == driver_->window_begin);
  (step == driver_->window_begin ? driver_->window_begin : driver_->window_end) =
      std::numeric_limits<std::int64_t>::max();
  return false;
}

/// Accounts for steps that are done.
void Trainer::take(const SumsSoFar& sums, std::int64_t steps, TrainObserver& observer) {
  state_.step_in_epoch += steps;
  state_.step += steps;
  state_.sums = sums.metrics;
  const auto skipped = static_cast<std::int64_t>(sums.guard.skipped);
  if (skipped > state_.skipped)
    observer.on_skipped({state_.epoch + 1, state_.step_in_epoch, skipped - state_.skipped, skipped});
  state_.skipped = skipped;
  state_.skipped_in_a_row = static_cast<std::int64_t>(sums.guard.in_a_row);
  if (sums.guard.longest_row >= static_cast<double>(kMostSkippedInARow))
    fail_check(
        "epoch {}, step {}: {} steps in a row had a loss or gradients that are not finite and were skipped: "
        "lower "
        "--lr or set --clip-norm; checkpoints saved before are as they were",
        state_.epoch + 1, state_.step_in_epoch, sums.guard.longest_row);
  if (sums.metrics.nonfinite > 0)
    fail_check(
        "epoch {}, step {}: the loss is not finite: lower --lr or set --clip-norm; checkpoints saved before "
        "are as "
        "they were",
        state_.epoch + 1, state_.step_in_epoch);
}

bool Trainer::train_epoch(TrainObserver& observer) {
  static const ranges::Name kEpoch("epoch");
  const ranges::Scope range(kEpoch);
  const auto start = Clock::now();
  const std::int64_t first = state_.step_in_epoch, epochs = session_.spec().recipe.epochs;
  const auto images_until = [&](std::int64_t step) { return std::min(step * batch_, training_images()); };
  StretchQueue& in_flight = driver_->in_flight;
  auto last_done = start, last_report = start;
  std::int64_t queued = first;
  skipped_before_ = state_.skipped;
  bool stopped = false;
  try {
    begin_epoch();
    for (;;) {
      while (!stopped && !in_flight.full() && queued < steps_per_epoch_ && !at_window(queued)) {
        stopped = observer.stop_requested();
        if (!stopped) queued += queue_stretch(queued);
      }
      if (in_flight.empty()) break;
      // While the device works.
      if (session_.device().asynchronous() && state_.epoch + 1 < epochs) tables(state_.epoch + 1);
      const auto [steps, sums] = in_flight.pop();
      take(sums, steps, observer);
      const auto now = Clock::now();
      const double seconds = seconds_between(last_done, now);
      driver_->pace.took(steps, seconds);
      step_ms_.push_back(static_cast<float>(seconds * 1e3 / static_cast<double>(steps)));
      last_done = now;
      if (seconds_between(last_report, now) < kProgressSeconds || state_.sums.count == 0) continue;
      last_report = now;
      report(observer, seconds_between(start, now), state_.step_in_epoch - first,
             images_until(state_.step_in_epoch) - images_until(first));
      if (!session_.device().asynchronous()) last_done = Clock::now();
    }
    at_window(queued);  // a window that ends with the run
  } catch (...) {
    in_flight.abandon();
    throw;
  }
  const double seconds = seconds_between(start, Clock::now());
  const std::int64_t images = images_until(state_.step_in_epoch) - images_until(first);
  times_.seconds += seconds;
  times_.steps += state_.step_in_epoch - first;
  times_.images += images;
  if (stopped) return false;
  finish_epoch(observer, seconds, images);
  return true;
}

void Trainer::report(TrainObserver& observer, double seconds, std::int64_t steps, std::int64_t images) const {
  TrainProgress progress;
  progress.epoch = state_.epoch + 1;
  progress.epochs = session_.spec().recipe.epochs;
  progress.step_in_epoch = state_.step_in_epoch;
  progress.steps_per_epoch = steps_per_epoch_;
  progress.loss = state_.sums.loss_sum / state_.sums.count;
  progress.accuracy = state_.sums.correct / state_.sums.count;
  progress.images_per_second = static_cast<double>(images) / seconds;
  progress.seconds_left = seconds / static_cast<double>(steps) *
                          static_cast<double>(progress.epochs * steps_per_epoch_ - state_.step);
  observer.on_progress(progress);
}

void Trainer::finish_epoch(TrainObserver& observer, double seconds, std::int64_t images) {
  EpochResult result;
  result.epoch = state_.epoch + 1;
  result.step = state_.step;
  result.train_loss = state_.sums.loss_sum / state_.sums.count;
  result.train_accuracy = state_.sums.correct / state_.sums.count;
  result.learning_rate = static_cast<double>(scalars(state_.epoch, steps_per_epoch_ - 1).learning_rate);
  result.seconds = seconds;
  result.images_per_second = static_cast<double>(images) / seconds;
  result.skipped = state_.skipped - skipped_before_;
  ++state_.epoch;
  state_.step_in_epoch = 0;
  state_.sums = {};
  if (validation_) {
    const Evaluation evaluation = validation_->run();
    result.validation_loss = evaluation.loss;
    result.validation_accuracy = evaluation.accuracy;
    result.best = state_.best_epoch == 0 || evaluation.accuracy > state_.best_accuracy;
    if (result.best) {
      state_.best_epoch = result.epoch;
      state_.best_accuracy = evaluation.accuracy;
      best_weights_.resize(static_cast<std::size_t>(session_.layout().total_elements));
      session_.download(best_weights_.data(), session_.evaluation_weights(),
                        best_weights_.size() * sizeof(float));
    }
    // A loss that is not finite is no progress.
    if (std::isfinite(evaluation.loss) && (!state_.lowest_loss || evaluation.loss < *state_.lowest_loss)) {
      state_.lowest_loss = evaluation.loss;
      state_.epochs_since_lowest = 0;
    } else {
      ++state_.epochs_since_lowest;
    }
    state_.stopped_early = run_.early_stop > 0 && state_.epochs_since_lowest >= run_.early_stop;
  }
  observer.on_epoch(result);
}

}  // namespace quern
