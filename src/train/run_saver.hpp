#pragma once

/// Keeps the files of a run up to date while it trains. A disk that fails does not end the run: what could
/// not be written is kept and tried again after the next epoch, and once more at the end.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "train/run_folder.hpp"

namespace quern {

class RunSaver {
 public:
  /// `warn` is told, in one line, what could not be written for now.
  RunSaver(const RunFolder& folder, std::function<void(const std::string&)> warn)
      : folder_(folder), warn_(std::move(warn)) {}

  /// After an epoch: a row of metrics, the last checkpoint and, if it is, the best.
  void epoch(const EpochResult& result, Checkpoint checkpoint);
  /// Between epochs or at the end.
  void set_last(Checkpoint checkpoint) { last_ = std::move(checkpoint); }
  void set_best(Checkpoint checkpoint) { best_ = std::move(checkpoint); }
  /// Writes what is left to write; throws the device error of the first file that still cannot be written.
  void flush();
  /// The same, but only warns.
  void try_flush();

 private:
  const RunFolder& folder_;
  std::function<void(const std::string&)> warn_;
  std::vector<EpochResult> rows_;  ///< not in the metrics yet
  std::optional<Checkpoint> best_, last_;
};

}  // namespace quern
