#include "report/run_recorder.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>

#include "quern/error.hpp"
#include "report/filters.hpp"

namespace quern {
namespace {

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

RunRecorder::RunRecorder(std::filesystem::path folder, std::int64_t steps_per_epoch, std::int64_t step)
    : folder_(std::move(folder)), steps_per_epoch_(steps_per_epoch), events_(folder_, wall_time(), step) {}

void RunRecorder::progress(const TrainProgress& progress) {
  const std::int64_t since =
      progress.epoch == epoch_ ? progress.step_in_epoch - step_ : progress.step_in_epoch;
  if (since * kRecordsPerEpoch < steps_per_epoch_) return;
  window(progress.epoch, progress.step_in_epoch, progress.loss, progress.accuracy);
}

/// From means over the epoch so far to means since the last record. Every step weighs the same, also the last
/// one of an epoch, which may have fewer images.
void RunRecorder::window(std::int64_t epoch, std::int64_t step_in_epoch, double loss, double accuracy) {
  if (epoch != epoch_) {
    epoch_ = epoch;
    step_ = 0;
    loss_sum_ = accuracy_sum_ = 0;
  }
  if (step_in_epoch <= step_) return;
  const auto steps = static_cast<double>(step_in_epoch), since = static_cast<double>(step_in_epoch - step_);
  const double loss_here = (loss * steps - loss_sum_) / since,
               accuracy_here = std::clamp((accuracy * steps - accuracy_sum_) / since, 0.0, 1.0);
  step_ = step_in_epoch;
  loss_sum_ = loss * steps;
  accuracy_sum_ = accuracy * steps;

  const std::int64_t step = (epoch - 1) * steps_per_epoch_ + step_in_epoch;
  lines_ += nlohmann::json{{"epoch", epoch},
                           {"epochs", static_cast<double>(step) / static_cast<double>(steps_per_epoch_)},
                           {"step", step},
                           {"loss", loss_here},
                           {"accuracy", accuracy_here}}
                .dump() +
            "\n";
  const double now = wall_time();
  events_.scalar("step/loss", loss_here, step, now);
  events_.scalar("step/accuracy", accuracy_here, step, now);
  events_.flush();
}

void RunRecorder::epoch(const EpochResult& result, const Checkpoint& checkpoint) {
  // What is left since the last record; a handful of steps would only be noise.
  const std::int64_t since = result.epoch == epoch_ ? steps_per_epoch_ - step_ : steps_per_epoch_;
  if (since * kRecordsPerEpoch >= steps_per_epoch_)
    window(result.epoch, steps_per_epoch_, result.train_loss, result.train_accuracy);
  const std::filesystem::path path = folder_ / "progress.jsonl";
  std::ofstream file(path, std::ios::app | std::ios::binary);
  file << lines_;
  file.close();
  if (!file)
    fail_device("{}: cannot be written: {}: check the disk's space and permissions", path.string(),
                std::strerror(errno));
  lines_.clear();

  const double now = wall_time();
  const auto scalar = [&](const char* tag, double value) { events_.scalar(tag, value, result.step, now); };
  scalar("epoch/loss/training", result.train_loss);
  scalar("epoch/accuracy/training", result.train_accuracy);
  if (result.validation_loss) scalar("epoch/loss/validation", *result.validation_loss);
  if (result.validation_accuracy) scalar("epoch/accuracy/validation", *result.validation_accuracy);
  scalar("epoch/learning_rate", result.learning_rate);
  scalar("epoch/images_per_second", result.images_per_second);
  if (result.skipped > 0) scalar("epoch/skipped_steps", static_cast<double>(result.skipped));
  for (const WeightTensor& tensor : weight_layout(checkpoint.spec).tensors)
    events_.histogram(tensor.name,
                      std::span(checkpoint.weights)
                          .subspan(static_cast<std::size_t>(tensor.offset),
                                   static_cast<std::size_t>(tensor.shape.elements())),
                      result.step, now);
  if (const auto filters = first_layer_filters(checkpoint.spec, checkpoint.weights, 64))
    events_.image("filters/" + filters->layer, tile(*filters, 8, filters->height <= 8 ? 6 : 2), result.step,
                  now);
  events_.flush();
}

}  // namespace quern
