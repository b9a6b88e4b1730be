#pragma once

/// How the walks of an executor reach the device: each one launched node by node, or recorded once and
/// replayed.

#include <cstdint>
#include <functional>
#include <memory>

#include "quern/device.hpp"
#include "quern/executor.hpp"

namespace quern {

class Replay {
 public:
  explicit Replay(Device& device) : device_(device) {}

  /// Takes effect with the next recording; what is recorded goes away.
  void configure(const ReplayOptions& options);
  /// Addresses have changed: what is recorded no longer holds.
  void forget() noexcept;
  /// `walk` gives one walk to the device's stream; it is called for the plain walks and for the recordings.
  void run(std::int64_t times, const std::function<void()>& walk);
  const ReplayCounts& counts() const noexcept { return counts_; }

 private:
  bool loops() const;
  DeviceGraph& recorded(std::unique_ptr<DeviceGraph>& graph, std::int64_t walks,
                        const std::function<void()>& walk);

  Device& device_;
  ReplayOptions options_;
  ReplayCounts counts_;
  bool walked_ = false;
  std::unique_ptr<DeviceGraph> loop_, many_, one_;
};

}  // namespace quern
