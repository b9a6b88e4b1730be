#pragma once

/// Random models: small DAGs of layers with every kind, shape, stride, padding and recipe that a spec allows.

#include <cstdint>
#include <string>

#include "quern/model_spec.hpp"

namespace quern::test {

struct RandomModel {
  std::uint64_t seed = 0;
  std::string json;  ///< the text that was parsed, for whoever wants to train it
  ModelSpec spec;    ///< its recipe's batch size is the batch
};

/// The same seed gives the same model on every machine.
RandomModel random_model(std::uint64_t seed);

}  // namespace quern::test
