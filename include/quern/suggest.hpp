#pragma once

/// "did you mean": the nearest of a set of names, for error messages.

#include <span>
#include <string>
#include <string_view>

namespace quern {

/// "; did you mean 'adam'?" when a candidate is close to `text`, else "". Meant to end a message.
std::string did_you_mean(std::string_view text, std::span<const std::string> candidates);

}  // namespace quern
