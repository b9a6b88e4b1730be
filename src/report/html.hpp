#pragma once

/// Pieces of HTML. Whatever comes from outside goes through escape() or is a number.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace quern {

/// Text for an element's content or a quoted attribute; bytes that are not UTF-8 become U+FFFD.
std::string escape(std::string_view text);

std::string base64(std::span<const std::byte> bytes);
/// True for a text of base64's alphabet only, which may stand in an attribute as it is.
bool is_base64(std::string_view text);

/// "99.28 %"
std::string percent_text(double share, int digits = 2);

/// The page's style sheet.
extern const char* const kReportStyle;

}  // namespace quern
