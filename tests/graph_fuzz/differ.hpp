#pragma once

/// Runs a random model in every way this build has and compares what comes out.

#include <string>
#include <vector>

#include "tests/graph_fuzz/graph_run.hpp"

namespace quern::test {

struct DifferCounts {
  int graphs = 0;
  int runs = 0;       ///< of two training steps and an evaluation each
  int nodes = 0;      ///< held against the reference on their own inputs
  int raced = 0;      ///< graphs whose kernels ran under the race detector, too
  int disturbed = 0;  ///< graphs whose yardstick had to be disturbed to know what may differ
};

/// Faults planted to see that they are found.
struct Sabotage {
  std::function<void(Graph&)> fused, shared;  ///< graphs that the passes have spoilt
  std::function<void(Registry&)> providers;   ///< implementations that are wrong
};

class Differ {
 public:
  explicit Differ(Sabotage sabotage = {});

  /// What disagreed, a line each; empty when nothing did.
  std::vector<std::string> compare(const RandomModel& model);
  const DifferCounts& counts() const { return counts_; }

 private:
  Sabotage sabotage_;
  Registry registry_;
  std::unique_ptr<Device> threads_, emulator_,
      cpu_;  ///< the last one opened sets the threads of the reference
  DifferCounts counts_;
};

}  // namespace quern::test
