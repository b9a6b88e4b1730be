#pragma once

#include "quern/checkpoint.hpp"
#include "quern/dataset.hpp"
#include "quern/model_spec.hpp"

namespace quern {

/// The images a run trains on and those it holds out: of `run`, seed, validation and limit_train count.
/// Throws an input error that names the flag where they leave nothing to train on.
Partition training_partition(const Split& images, const RunSettings& run);

/// Steps of an epoch of so many training images, the last of which may be of fewer than `batch_size`. Throws
/// an input error where not one step is whole.
std::int64_t steps_in_epoch(std::int64_t images, std::int64_t batch_size);

/// Throws an input error unless the model takes images of this size; `what` says whose they are.
void check_image_size(const ModelSpec& spec, const Split& images, const char* what);

}  // namespace quern
