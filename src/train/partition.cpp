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

std::int64_t steps_in_epoch(std::int64_t images, std::int64_t batch_size) {
  if (batch_size > images)
    fail_input("batch size {} is above the {} training images: choose a smaller --batch", batch_size, images);
  return (images + batch_size - 1) / batch_size;
}

void check_image_size(const ModelSpec& spec, const Split& images, const char* what) {
  if (images.height != spec.height || images.width != spec.width || images.channels != spec.channels)
    fail_input("{} has images of {}x{}x{}, model '{}' takes {}x{}x{}: choose another model or another --data",
               what, images.height, images.width, images.channels, spec.name, spec.height, spec.width,
               spec.channels);
}

}  // namespace quern
