#pragma once

/// A measured roofline for people and for machines.

#include <nlohmann/json.hpp>
#include <string>

#include "quern/roofline.hpp"

namespace quern::cli {

/// One line: "roofline: 98.4 GB/s over 201 MB, 310 Gflop/s fp32".
std::string describe_roofline(const Roofline& roofline);
nlohmann::json to_json(const Roofline& roofline);

}  // namespace quern::cli
