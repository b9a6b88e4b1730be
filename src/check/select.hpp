#pragma once

/// Which cases and which implementations a run of the table takes.

#include <vector>

#include "check/case.hpp"
#include "quern/check.hpp"

namespace quern::check {

/// Operations that "conv2d" or "conv2d.forward" (or nothing: all) names. Throws an input error for any other
/// text.
std::vector<OpKey> select_operations(const std::string& filter);

/// Cases in the table's order. Throws an input error when none is left.
std::vector<const Case*> select_cases(const CheckOptions& options);

/// The implementations of one operation on a kind of device that `options.implementation` names.
std::vector<const Implementation*> select_implementations(const Registry& registry, OpKey op, DeviceKind kind,
                                                          const CheckOptions& options);

/// Throws an input error when `options.implementation` names nothing in the registry, or nothing on this kind
/// of device.
void require_known_implementation(const Registry& registry, DeviceKind kind, const CheckOptions& options);

/// Operations for which a provider that is on this device for others (or is required) has nothing.
std::vector<CheckGap> find_gaps(const Registry& registry, const std::vector<OpKey>& operations,
                                DeviceKind kind, const CheckOptions& options);

/// Whether "onednn" or "onednn:nhwc" names this implementation.
bool names_implementation(const std::string& filter, const Implementation& implementation);

}  // namespace quern::check
