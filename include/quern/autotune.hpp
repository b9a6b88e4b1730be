#pragma once

/// `--impl auto`: implementations chosen by time. Candidates are timed on the device that will run them, one
/// operation at a time, on made-up data; what was measured is kept, so that the same operation on the same
/// device is measured once and later runs choose alike.

#include <filesystem>
#include <map>
#include <string>

#include "quern/device.hpp"
#include "quern/implementation.hpp"
#include "quern/plan.hpp"

namespace quern {

/// Times of implementations, by device, build and operation.
///
/// The file is JSON: {"format": 1, "devices": {DEVICE: {BUILD: {DESCRIPTION: {IMPLEMENTATION: SECONDS}}}}}.
/// It may be deleted at any time. One that is missing, damaged or of another format counts as empty; one that
/// cannot be written leaves the next run to measure again. Neither is an error: only time depends on it.
class TimingCache {
 public:
  /// Seconds a run takes, by full name.
  using Times = std::map<std::string, double>;

  /// In memory only.
  TimingCache() = default;
  /// `build` tells programs apart whose kernels may differ.
  TimingCache(std::filesystem::path file, std::string build);

  /// The user's: $XDG_CACHE_HOME/quern/times.json (~/.cache/quern/times.json), for this program as it was
  /// built. In memory only where there is no home.
  static TimingCache of_user();

  /// The times kept for an operation on a device; null: none.
  const Times* find(const std::string& device, const std::string& description) const;
  void keep(const std::string& device, const std::string& description, Times times);
  /// Writes what was kept since, together with what others have written meanwhile. False: it cannot be
  /// written.
  bool save();

  const std::filesystem::path& file() const noexcept { return file_; }

 private:
  using Operations = std::map<std::string, Times>;
  using Builds = std::map<std::string, Operations>;
  using Devices = std::map<std::string, Builds>;
  static Devices read(const std::filesystem::path& file);

  std::filesystem::path file_;
  std::string build_;
  Devices devices_;
  bool changed_ = false;
};

/// What a device's times depend on: its name, its threads, and what it is allowed to do.
std::string timing_key(const DeviceInfo& device);

/// Whether any node of the plan is left to `auto`.
bool leaves_to_auto(const Plan& plan, const PlanOptions& options);

/// For every node of the plan whose operation `options` leaves to `auto`: the candidate that does not refuse
/// and takes the least time. Times within 2 % of the least count as equal, and the first in the registry's
/// order wins. Fills PlannedNode::times. The plan must have been made with the same registry and options, for
/// this device. A candidate that cannot be prepared is passed over with its reason.
void choose_by_time(Plan& plan, const Registry& registry, Device& device, const PlanOptions& options,
                    TimingCache& cache);

}  // namespace quern
