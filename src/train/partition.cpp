#include "train/partition.hpp"

#include "quern/error.hpp"

namespace quern {

Partition training_partition(const Split& images, const RunSettings& run) {
  if (run.validation < 0 || run.validation >= images.count)
    fail_input("--validation {}: hold out at least 0 and fewer than the {} training images", run.validation,
               images.count);
  if (run.limit_train < 0) fail_input("--limit-train {}: must not be negative", run.limit_train);
  Partition partition = split_train_validation(images.count, run.validation, run.seed);
  if (run.limit_train > 0 && static_cast<std::size_t>(run.limit_train) < partition.train.size())
    partition.train.resize(static_cast<std::size_t>(run.limit_train));
  return partition;
}

}  // namespace quern
