#pragma once

/// What a trainer needs to drive the device through an epoch.

#include <limits>

#include "quern/trainer.hpp"
#include "train/epoch_tables.hpp"
#include "train/stretches.hpp"

namespace quern {

struct Trainer::Driver {
  Driver(Device& device, std::int64_t images, std::int64_t steps)
      : tables(device, images, steps), in_flight(device), pace(device.asynchronous()) {}

  EpochTables tables;
  StretchQueue in_flight;
  Pace pace;
  std::int64_t window_begin =
      std::numeric_limits<std::int64_t>::max();  ///< of the profiler, in steps of the run
  std::int64_t window_end = std::numeric_limits<std::int64_t>::max();
};

}  // namespace quern
