#pragma once

/// Text from outside, made fit for a message, a terminal, a page or a shell.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace quern {

/// The first character of a text in UTF-8.
struct Utf8Character {
  char32_t code = 0;
  std::size_t bytes = 1;
  bool valid = false;
};
/// Decoded strictly: overlong forms, surrogates and what lies beyond U+10FFFF are not valid, and then the
/// character is one byte. `text` must not be empty. Source: The Unicode Standard, table 3-7.
Utf8Character first_character(std::string_view text);

/// On one line and fit for a terminal: control characters, characters that turn the direction of writing and
/// bytes that are no UTF-8 are made visible ("\\n", "\\x1b", "\\u202e"), so that what someone else wrote can
/// neither forge lines nor move the cursor. What is longer than `limit` bytes ends in "...".
std::string printable(std::string_view text, std::size_t limit = std::string_view::npos);

/// 'text', made printable, in single quotes.
std::string quote_text(std::string_view text, std::size_t limit = 80);
std::string quote_path(const std::filesystem::path& path);

/// A word that a shell reads as `word`, quoted where it must be.
std::string shell_word(const std::string& word);

/// 1234567 -> "1,234,567".
std::string with_commas(std::int64_t value);

}  // namespace quern
