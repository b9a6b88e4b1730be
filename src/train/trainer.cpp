#include "quern/trainer.hpp"

#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "quern/error.hpp"

namespace quern {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

constexpr double kProgressSeconds = 0.1;      // between two calls of on_progress
constexpr double kGpuProgressSeconds = 0.25;  // each one waits for the GPU

DataFingerprint fingerprint(const Split& images) {
  return {images.count, images.height, images.width, images.channels,
          static_cast<std::uint32_t>(crc32_z(0, images.labels.data(), images.labels.size()))};
}

int slots_of(OptimizerKind kind) {
  OptimizerAttrs attrs;
  attrs.kind = kind;
  return attrs.slots();
}

}  // namespace

Trainer::Trainer(Session& session, const DeviceImages& images, RunSettings run)
    : session_(session), run_(std::move(run)) {
  const Recipe& recipe = session.spec().recipe;
  validate(recipe);
  const Split& host = images.host();
  if (run_.validation < 0 || run_.validation >= host.count)
    fail_input("--validation {}: hold out at least 0 and fewer than the {} training images", run_.validation,
               host.count);
  if (run_.limit_train < 0) fail_input("--limit-train {}: must not be negative", run_.limit_train);
  if (run_.early_stop < 0) fail_input("--early-stop {}: must not be negative", run_.early_stop);
  if (run_.early_stop > 0 && run_.validation == 0)
    fail_input("--early-stop {} needs images to watch: hold some out with --validation N", run_.early_stop);
  partition_ = split_train_validation(host.count, run_.validation, run_.seed);
  if (run_.limit_train > 0 && run_.limit_train < training_images())
    partition_.train.resize(static_cast<std::size_t>(run_.limit_train));
  if (recipe.batch_size > training_images())
    fail_input("batch size {} is above the {} training images: choose a smaller --batch", recipe.batch_size,
               training_images());
  batch_ = recipe.batch_size;
  steps_per_epoch_ = (training_images() + batch_ - 1) / batch_;

  const DeviceInfo& info = session.device().info();
  host_device_ = info.kind != DeviceKind::cuda;
  run_.fingerprint = fingerprint(host);
  run_.device = session.device_name();
  run_.threads = info.threads;
  run_.precision = to_string(session.precision());
  run_.fuse = session.options().fuse;
  run_.allow_nondeterministic = session.options().allow_nondeterministic;
  run_.impls = session.options().impls;

  prepare(images);
  session.initialize(run_.seed);
}

void Trainer::prepare(const DeviceImages& images) {
  Device& device = session_.device();
  const auto zeros = [&](std::size_t bytes) {
    Buffer buffer(device, bytes);
    device.fill(buffer.data(), 0, bytes, device.stream());
    return buffer;
  };
  const Recipe& recipe = session_.spec().recipe;
  const std::size_t trained = static_cast<std::size_t>(session_.layout().trained_elements) * sizeof(float);
  gradients_ = zeros(trained);
  if (slots_of(recipe.optimizer) >= 1) slot1_ = zeros(trained);
  if (slots_of(recipe.optimizer) >= 2) slot2_ = zeros(trained);
  metrics_ = zeros(sizeof(Metrics));
  order_ = zeros(partition_.train.size() * sizeof(std::uint32_t));
  steps_ = zeros(static_cast<std::size_t>(steps_per_epoch_) * sizeof(StepScalars));
  step_ = zeros(sizeof(StepScalars));

  Bindings bindings{{names::kWeights, session_.weights_address()},
                    {names::kGradients, gradients_.data()},
                    {names::kMetrics, metrics_.data()},
                    {names::kImages, images.pixels()},
                    {names::kLabels, images.labels()},
                    {names::kOrder, order_.data()},
                    {names::kStep, step_.data()}};
  if (slot1_) bindings[names::kSlot1] = slot1_.data();
  if (slot2_) bindings[names::kSlot2] = slot2_.data();
  if (recipe.ema_decay > 0) bindings[names::kEma] = session_.average_address();

  GraphOptions options;
  options.training = true;
  options.dataset_images = images.host().count;
  options.order_length = training_images();
  options.batch = batch_;
  full_ = SessionExecutor(session_, options, bindings);
  if (training_images() % batch_ != 0) {
    options.batch = training_images() % batch_;
    tail_ = SessionExecutor(session_, options, bindings);
  }
  if (!partition_.validation.empty()) validation_.emplace(session_, images, partition_.validation);
}

void Trainer::restore(const Checkpoint& checkpoint) {
  if (!(checkpoint.run.fingerprint == run_.fingerprint))
    fail_input(
        "the training set is not the one the checkpoint was trained on: {} images with labels of CRC {:08x}, "
        "the checkpoint had {} with {:08x}; give the same --data",
        run_.fingerprint.images, run_.fingerprint.labels_crc32, checkpoint.run.fingerprint.images,
        checkpoint.run.fingerprint.labels_crc32);
  const TrainState& state = checkpoint.state;
  const std::int64_t epochs = session_.spec().recipe.epochs;
  if (state.epoch > epochs || state.step_in_epoch >= steps_per_epoch_ ||
      (state.epoch == epochs && state.step_in_epoch != 0) ||
      state.step != state.epoch * steps_per_epoch_ + state.step_in_epoch)
    fail_input(
        "the checkpoint stands at step {} (epoch {} + {} steps), which is no position of a run of {} epochs "
        "of {} steps",
        state.step, state.epoch, state.step_in_epoch, epochs, steps_per_epoch_);
  session_.set_weights(checkpoint.weights);
  const auto fill = [&](Buffer& buffer, const std::vector<float>& values, const char* name) {
    if (!buffer) return;
    QUERN_REQUIRE(values.size() * sizeof(float) == buffer.size(), "{} has {} elements", name, values.size());
    session_.upload(buffer.data(), values.data(), buffer.size());
  };
  fill(slot1_, checkpoint.slot1, "slot1");
  fill(slot2_, checkpoint.slot2, "slot2");
  if (session_.average_address() != nullptr) session_.set_average(checkpoint.ema);
  state_ = state;
}

Checkpoint Trainer::checkpoint() {
  Checkpoint checkpoint{session_.spec(), run_, state_, session_.weights(), {}, {}, session_.average()};
  // The loss of the last step was finite, but its update may have overflowed.
  if (!std::all_of(checkpoint.weights.begin(), checkpoint.weights.end(),
                   [](float w) { return std::isfinite(w); }))
    fail_check(
        "after step {}: the weights are not finite: lower --lr or set --clip-norm; checkpoints saved before "
        "are as "
        "they were",
        state_.step);
  const auto read = [&](const Buffer& buffer) {
    std::vector<float> values(buffer.size() / sizeof(float));
    if (buffer) session_.download(values.data(), buffer.data(), buffer.size());
    return values;
  };
  checkpoint.slot1 = read(slot1_);
  checkpoint.slot2 = read(slot2_);
  return checkpoint;
}

void Trainer::watch(std::int64_t every, std::function<void(Executor&, std::int64_t step)> walk) {
  QUERN_REQUIRE(every > 0 && walk, "every {}th step is to be watched", every);
  watch_every_ = every;
  watch_ = std::move(walk);
}

StopReason Trainer::run(TrainObserver& observer) {
  while (state_.epoch < session_.spec().recipe.epochs && !state_.stopped_early)
    if (!train_epoch(observer)) return StopReason::requested;
  return state_.stopped_early ? StopReason::stopped_early : StopReason::finished;
}

std::int64_t Trainer::images_in_step(std::int64_t step_in_epoch) const {
  return std::min(batch_, training_images() - step_in_epoch * batch_);
}

StepScalars Trainer::scalars(std::int64_t step_in_epoch) const {
  const Recipe& recipe = session_.spec().recipe;
  const std::int64_t step = state_.epoch * steps_per_epoch_ + step_in_epoch;
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
  scalars.epoch = static_cast<std::uint32_t>(state_.epoch);
  return scalars;
}

void Trainer::begin_epoch() {
  order_host_ = shuffled_order(partition_.train, run_.seed, static_cast<std::uint32_t>(state_.epoch));
  steps_host_.clear();
  for (std::int64_t step = 0; step < steps_per_epoch_; ++step) steps_host_.push_back(scalars(step));
  session_.upload(order_.data(), order_host_.data(), order_.size());
  session_.upload(steps_.data(), steps_host_.data(), steps_.size());
  session_.upload(metrics_.data(), &state_.sums, sizeof(Metrics));
  step_ms_.reserve(step_ms_.size() + static_cast<std::size_t>(steps_per_epoch_));
}

void Trainer::run_step(std::int64_t step_in_epoch) {
  Device& device = session_.device();
  device.copy_on_device(step_.data(),
                        steps_.bytes() + static_cast<std::size_t>(step_in_epoch) * sizeof(StepScalars),
                        sizeof(StepScalars), device.stream());
  Executor& executor = images_in_step(step_in_epoch) == batch_ ? *full_ : *tail_;
  if (watch_every_ > 0 && state_.step % watch_every_ == 0)
    watch_(executor, state_.step);
  else
    executor.run();
}

void Trainer::read_sums() {
  session_.download(&state_.sums, metrics_.data(), sizeof(Metrics));
  if (state_.sums.nonfinite > 0)
    fail_check(
        "epoch {}, step {}: the loss is not finite: lower --lr or set --clip-norm; checkpoints saved before "
        "are "
        "as they were",
        state_.epoch + 1, state_.step_in_epoch);
}

bool Trainer::train_epoch(TrainObserver& observer) {
  const auto start = Clock::now();
  begin_epoch();
  const std::int64_t first = state_.step_in_epoch;
  const double interval = host_device_ ? kProgressSeconds : kGpuProgressSeconds;
  auto last_read = Clock::now(), last_report = last_read;
  std::int64_t last_read_step = first, images = 0;
  bool stopped = false;
  while (state_.step_in_epoch < steps_per_epoch_) {
    if (observer.stop_requested()) {
      stopped = true;
      break;
    }
    run_step(state_.step_in_epoch);
    images += images_in_step(state_.step_in_epoch);
    ++state_.step_in_epoch;
    ++state_.step;
    const bool last = state_.step_in_epoch == steps_per_epoch_;
    if (!host_device_ && !last && seconds_between(last_read, Clock::now()) < interval) continue;
    read_sums();
    const auto now = Clock::now();
    step_ms_.push_back(static_cast<float>(seconds_between(last_read, now) * 1e3 /
                                          static_cast<double>(state_.step_in_epoch - last_read_step)));
    last_read_step = state_.step_in_epoch;
    last_read = now;
    if (seconds_between(last_report, now) >= interval) {
      last_report = now;
      report(observer, seconds_between(start, now), state_.step_in_epoch - first, images);
      last_read = Clock::now();
    }
  }
  if (stopped) read_sums();
  const double seconds = seconds_between(start, Clock::now());
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
  result.learning_rate = static_cast<double>(steps_host_.back().learning_rate);
  result.seconds = seconds;
  result.images_per_second = static_cast<double>(images) / seconds;
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

std::int64_t Trainer::parameters() const {
  std::int64_t count = 0;
  for (const WeightTensor& tensor : session_.layout().tensors)
    if (tensor.trained) count += tensor.shape.elements();
  return count;
}

TrainTimes Trainer::times() const {
  TrainTimes times = times_;
  if (times.steps > 0) {
    times.ms_per_step = times.seconds * 1e3 / static_cast<double>(times.steps);
    times.images_per_second = static_cast<double>(times.images) / times.seconds;
  }
  if (!step_ms_.empty()) {
    std::vector<float> sorted = step_ms_;
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    times.ms_per_step_median = static_cast<double>(*middle);
  }
  return times;
}

}  // namespace quern
