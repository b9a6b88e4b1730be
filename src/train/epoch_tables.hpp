#pragma once

/// What the device needs of an epoch before its first step: the shuffled order, the scalars of every step,
/// and the sums so far. They are laid out in host memory that copies are queued from; there are two such
/// places, so that the next epoch's tables can be made while this one runs.

#include <cstdint>
#include <memory>
#include <span>

#include "quern/device.hpp"
#include "quern/op.hpp"

namespace quern {

/// What a step adds to, one behind the other in device memory and in host memory.
struct SumsSoFar {
  Metrics metrics;
  StepGuard guard;  ///< stays as it is where no step may be skipped
};

/// The tables of one epoch in host memory.
struct EpochTable {
  std::span<std::uint32_t> order;  ///< [images]
  std::span<StepScalars> steps;    ///< [steps]
  SumsSoFar* sums = nullptr;
};

class EpochTables {
 public:
  EpochTables() = default;
  EpochTables(Device& device, std::int64_t images, std::int64_t steps);

  /// The tables of `epoch`, filled by `fill(order, steps)` unless they are there already. May wait for the
  /// copies of the epoch before last.
  template <class Fill>
  EpochTable of(std::int64_t epoch, const Fill& fill) {
    Side& side = sides_[epoch % 2];
    if (side.epoch != epoch) {
      side.copied->wait();
      side.epoch = -1;  // while `fill` may still throw
      fill(table(side).order, table(side).steps);
      side.epoch = epoch;
    }
    return table(side);
  }
  /// To be called when the copies from the tables of `epoch` have been queued.
  void copies_queued(std::int64_t epoch, Stream stream) { sides_[epoch % 2].copied->record(stream); }

 private:
  struct Side {
    HostBuffer memory;
    std::unique_ptr<DeviceEvent> copied;
    std::int64_t epoch = -1;
  };
  EpochTable table(const Side& side) const;

  std::size_t images_ = 0, steps_ = 0;
  Side sides_[2];
};

}  // namespace quern
