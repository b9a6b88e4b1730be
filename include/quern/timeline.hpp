#pragma once

/// Points in time of a device's work: the steady clock where work is done when a call returns (CPU,
/// emulator), events on the device's stream on a GPU, so that measuring makes nobody wait.

#include <functional>
#include <memory>
#include <vector>

#include "quern/device.hpp"

namespace quern {

class Timeline {
 public:
  virtual ~Timeline() = default;
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  /// Forgets all points.
  virtual void clear() = 0;
  /// A point behind all work enqueued so far.
  virtual void mark() = 0;
  /// Seconds from the first point to every point, the first included. Waits for the device.
  virtual std::vector<double> seconds() = 0;
  /// `work` in the form that costs least to launch again: on a GPU captured into a graph, where that can be
  /// done (work that synchronises cannot); elsewhere itself.
  virtual std::function<void()> replayable(std::function<void()> work) { return work; }

  /// Seconds of `work`, which enqueues on the device's stream or is done when it returns.
  double time(const std::function<void()>& work);

 protected:
  Timeline() = default;
};

/// The device must outlive the timeline.
std::unique_ptr<Timeline> make_timeline(Device& device);

}  // namespace quern
