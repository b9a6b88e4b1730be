#pragma once

/// Where a NaN or an infinity came from. A run is a function of its settings, so it is trained again from a
/// checkpoint before the accident, with an eye on every node.

#include <cstdint>
#include <optional>
#include <string>

#include "quern/trainer.hpp"

namespace quern {

/// The first value that was not finite.
struct NonfiniteValue {
  std::int64_t step = 0;  ///< optimizer steps done before
  std::string node, implementation;
  std::string tensor;  ///< the node's output, "conv1.out"
  std::int64_t index = 0, elements = 0;
  double value = 0;
};

/// Trains on from `good` (from the start, if there is none) up to the step in which something was found not
/// to be finite, `bad_step` optimizer steps into the run, and gives the first node that wrote such a value.
/// Nothing, when every node's outputs were finite. The session's weights are those of the accident
/// afterwards; a trainer that works on it is not to be used any more.
std::optional<NonfiniteValue> find_nonfinite(Session& session, const DeviceImages& images,
                                             const RunSettings& run, const std::optional<Checkpoint>& good,
                                             std::int64_t bad_step);

/// "the first value that is not finite was inf in conv2.out[17 of 8192], written by conv2.forward
/// [onednn:direct] in step 12"
std::string describe(const NonfiniteValue& value);

}  // namespace quern
