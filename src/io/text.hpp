#pragma once

/// Text from outside, made fit for a one-line message.

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace quern {

/// 'text' in single quotes on one line: control characters, which could forge lines or drive a terminal,
/// become \xNN, and what is longer than `limit` bytes ends in "...".
std::string quote_text(std::string_view text, std::size_t limit = 80);
std::string quote_path(const std::filesystem::path& path);

}  // namespace quern
