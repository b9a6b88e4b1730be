#pragma once

/// What a run leaves behind for eyes: progress.jsonl and TensorBoard events.

#include <filesystem>

#include "quern/checkpoint.hpp"
#include "quern/trainer.hpp"
#include "report/events.hpp"

namespace quern {

class RunRecorder {
 public:
  /// `step`: optimizer steps done before, in a run that goes on.
  RunRecorder(std::filesystem::path folder, std::int64_t steps_per_epoch, std::int64_t step);

  /// Records the mean since the last record, at most kRecordsPerEpoch times an epoch.
  void progress(const TrainProgress& progress);
  /// `checkpoint`: the weights after the epoch.
  void epoch(const EpochResult& result, const Checkpoint& checkpoint);

  static constexpr std::int64_t kRecordsPerEpoch = 50;

 private:
  void window(std::int64_t epoch, std::int64_t step_in_epoch, double loss, double accuracy);

  std::filesystem::path folder_;
  std::int64_t steps_per_epoch_;
  EventFile events_;
  std::string lines_;  ///< of progress.jsonl, not yet written
  /// The last record: where it ended, and the sums over the steps of the epoch until then.
  std::int64_t epoch_ = 0, step_ = 0;
  double loss_sum_ = 0, accuracy_sum_ = 0;
};

}  // namespace quern
