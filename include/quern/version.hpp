#pragma once

namespace quern {

/// "0.1.0": the version of this build.
const char* version() noexcept;

/// Names the scheme by which random numbers are drawn (philox.hpp and its users). Two builds with the same
/// scheme draw the same numbers for the same seed; a checkpoint of another scheme cannot be resumed bit for
/// bit.
inline constexpr const char* kRandomScheme = "philox4x32-10/1";

}  // namespace quern
