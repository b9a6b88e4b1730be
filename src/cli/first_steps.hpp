#pragma once

/// The start of a run, for other frameworks to repeat: `quern bench train --first-steps FILE`.

#include <nlohmann/json.hpp>

#include "quern/dataset.hpp"
#include "quern/session.hpp"

namespace quern::cli {

/// Trains for `count` steps of the first epoch and gives what another framework needs to do the same, and
/// what came out: initial weights by name in quern's layouts (conv KRSC, dense [out, in] over NHWC features),
/// the indices of the training images in the order of the steps, and the mean loss of every step.
nlohmann::json first_steps(Session& session, const Dataset& data, std::int64_t count, std::uint64_t seed);

}  // namespace quern::cli
