#pragma once

#include "quern/checkpoint.hpp"
#include "quern/dataset.hpp"

namespace quern {

/// The images a run trains on and those it holds out: of `run`, seed, validation and limit_train count.
/// Throws an input error that names the flag where they leave nothing to train on.
Partition training_partition(const Split& images, const RunSettings& run);

}  // namespace quern
