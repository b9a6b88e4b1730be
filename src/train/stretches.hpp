#pragma once

/// Steps are given to the device in stretches. On a CPU a stretch is one step, done when the call returns. A
/// GPU gets about 50 ms of work at a time, and the next stretch before the last one is done: it never waits
/// for the host, and the host, which sleeps meanwhile, is never more than two stretches behind.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

#include "quern/device.hpp"
#include "train/epoch_tables.hpp"

namespace quern {

/// How many steps make a stretch.
class Pace {
 public:
  /// `fixed` > 0: always so many.
  explicit Pace(bool asynchronous, std::int64_t fixed = 0) : fixed_(asynchronous ? fixed : 1) {}
  std::int64_t steps() const noexcept { return fixed_ > 0 ? fixed_ : steps_; }
  /// A stretch of `steps` took this long. Grows at most fourfold, so that one odd measurement is not
  /// believed.
  void took(std::int64_t steps, double seconds) noexcept {
    const double wanted = kSeconds * static_cast<double>(steps) / std::max(seconds, 1e-9);
    const double most = 4 * static_cast<double>(steps_);
    steps_ = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::min(wanted, most)));
  }

  static constexpr double kSeconds = 0.05;

 private:
  std::int64_t fixed_;
  std::int64_t steps_ = 1;
};

/// The stretches that the device has been given and the host has not yet seen the end of, oldest first.
/// Behind each one the sums are copied to host memory.
class StretchQueue {
 public:
  explicit StretchQueue(Device& device) : device_(&device), depth_(device.asynchronous() ? kDepth : 1) {
    for (Place& place : places_) place = {HostBuffer(device, sizeof(SumsSoFar)), device.make_event(), 0};
  }

  bool empty() const noexcept { return count_ == 0; }
  bool full() const noexcept { return count_ == depth_; }
  /// Marks the end of `steps` steps just queued. `sums` are the device's.
  void push(std::int64_t steps, const void* sums) {
    Place& place = places_[(first_ + count_) % kDepth];
    device_->copy_to_host(place.sums.bytes(), sums, sizeof(SumsSoFar), device_->stream());
    place.done->record(device_->stream());
    place.steps = steps;
    ++count_;
  }
  struct Done {
    std::int64_t steps;
    SumsSoFar sums;
  };
  /// Waits for the oldest.
  Done pop() {
    const Place& place = places_[first_];
    place.done->wait();
    first_ = (first_ + 1) % kDepth;
    --count_;
    return {place.steps, *place.sums.as<SumsSoFar>()};
  }
  /// Before the memory that queued work uses goes away. Errors have been reported, or are about to be.
  void abandon() noexcept {
    try {
      device_->synchronize(device_->stream());
    } catch (...) {
    }
    first_ = count_ = 0;
  }

 private:
  static constexpr std::size_t kDepth = 2;
  struct Place {
    HostBuffer sums;
    std::unique_ptr<DeviceEvent> done;
    std::int64_t steps = 0;
  };
  Device* device_;
  std::size_t depth_, first_ = 0, count_ = 0;
  std::array<Place, kDepth> places_;
};

}  // namespace quern
