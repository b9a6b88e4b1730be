#pragma once

/// `quern bench train`: milliseconds a step over models and batches, the whole run, time to an accuracy.

#include <CLI/CLI.hpp>

namespace quern::cli {

void add_bench_train(CLI::App& bench, int& status);

}  // namespace quern::cli
