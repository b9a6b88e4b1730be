#pragma once

/// GPUs that plans and support tables can be made for without having one.

#include <string>
#include <vector>

#include "quern/device.hpp"

namespace quern::cli {

/// "sm_90": a typical card of that compute capability. Throws an input error that lists the known ones.
/// What assumed_device() takes.
std::vector<std::string> assumed_gpu_names();
DeviceInfo assumed_device(const std::string& text);

}  // namespace quern::cli
