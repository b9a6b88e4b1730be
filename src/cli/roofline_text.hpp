#pragma once

/// A measured roofline for people.

#include <string>

#include "quern/roofline.hpp"

namespace quern::cli {

/// One line: "roofline, measured here: 225 Gflop/s fp32; 38.4 GB/s over 201 MB, 160.2 over 1, ...".
std::string describe_roofline(const Roofline& roofline);

}  // namespace quern::cli
