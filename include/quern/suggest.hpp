#pragma once

/// "did you mean": the nearest of a set of names, for error messages.

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace quern {

/// The candidate that `text` was probably meant to be: the one with the fewest letters changed, added, left
/// out or swapped with their neighbour, where these are few; else the only one that begins with `text`.
std::optional<std::string> nearest(std::string_view text, std::span<const std::string> candidates);

/// "; did you mean 'adam'?" when a candidate is close to `text`, else "". Meant to end a message.
std::string did_you_mean(std::string_view text, std::span<const std::string> candidates);

}  // namespace quern
