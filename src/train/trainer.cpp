#include "quern/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "quern/error.hpp"
#include "train/driver.hpp"
#include "train/partition.hpp"
#include "train/run_json.hpp"

namespace quern {
namespace {

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
  partition_ = training_partition(host, run_);
  if (run_.early_stop < 0) fail_input("--early-stop {}: must not be negative", run_.early_stop);
  if (run_.early_stop > 0 && run_.validation == 0)
    fail_input("--early-stop {} needs images to watch: hold some out with --validation N", run_.early_stop);
  batch_ = recipe.batch_size;
  steps_per_epoch_ = steps_in_epoch(training_images(), batch_);

  const DeviceInfo& info = session.device().info();
  run_.fingerprint = fingerprint_of(host);
  run_.device = session.device_name();
  run_.threads = info.threads;
  run_.precision = to_string(session.precision());
  run_.fuse = session.options().fuse;
  run_.allow_nondeterministic = session.options().allow_nondeterministic;
  run_.impls = session.options().impls;

  prepare(images);
  session.initialize(run_.seed);
}

Trainer::~Trainer() = default;

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
  sums_ = zeros(sizeof(SumsSoFar));
  order_ = zeros(partition_.train.size() * sizeof(std::uint32_t));
  steps_ = zeros(static_cast<std::size_t>(steps_per_epoch_) * sizeof(StepScalars));
  step_ = zeros(sizeof(StepScalars));

  Bindings bindings{{names::kWeights, session_.weights_address()},
                    {names::kGradients, gradients_.data()},
                    {names::kMetrics, sums_.data()},
                    {names::kImages, images.pixels()},
                    {names::kLabels, images.labels()},
                    {names::kOrder, order_.data()},
                    {names::kStep, step_.data()},
                    {names::kSteps, steps_.data()}};
  if (slot1_) bindings[names::kSlot1] = slot1_.data();
  if (slot2_) bindings[names::kSlot2] = slot2_.data();
  if (recipe.ema_decay > 0) bindings[names::kEma] = session_.average_address();
  if (run_.skip_nonfinite) {
    const std::int64_t running = session_.layout().total_elements - session_.layout().trained_elements;
    kept_sums_ = zeros(sizeof(Metrics));
    kept_running_ = zeros(static_cast<std::size_t>(running) * sizeof(float));
    bindings[names::kGuard] = sums_.bytes() + offsetof(SumsSoFar, guard);
    bindings[names::kKeptMetrics] = kept_sums_.data();
    bindings[names::kKeptRunning] = kept_running_.data();
  }

  GraphOptions options;
  options.training = true;
  options.skip_nonfinite = run_.skip_nonfinite;
  options.dataset_images = images.host().count;
  options.order_length = training_images();
  options.steps = steps_per_epoch_;
  options.batch = batch_;
  full_ = SessionExecutor(session_, options, bindings);
  if (training_images() % batch_ != 0) {
    options.batch = training_images() % batch_;
    tail_ = SessionExecutor(session_, options, bindings);
  }
  driver_ = std::make_unique<Driver>(device, training_images(), steps_per_epoch_);
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

void Trainer::set_stretch(std::int64_t steps) {
  QUERN_REQUIRE(steps >= 0, "stretches of {} steps", steps);
  driver_->pace = Pace(session_.device().asynchronous(), steps);
}

void Trainer::set_profile_window(std::int64_t begin, std::int64_t end) {
  const std::int64_t all = session_.spec().recipe.epochs * steps_per_epoch_;
  if (begin < 0 || begin >= end || end > all)
    fail_input("--profile-steps {}:{}: give the first step and the one after the last, within the run's {}",
               begin, end, all);
  driver_->window_begin = begin;
  driver_->window_end = end;
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
