#include "io/text.hpp"

#include <fmt/format.h>

namespace quern {
namespace {

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u;
}

/// Characters that turn the direction of what follows, or separate lines.
bool turns_direction(char32_t code) {
  return code == 0x200E || code == 0x200F || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

Utf8Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t bytes = lead >= 0xF0 && lead < 0xF8 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC0 || lead >= 0xF8 || text.size() < bytes) return {};
  char32_t code = lead & (0x7Fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if (!is_continuation(text[i])) return {};
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  constexpr char32_t kFirst[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (code < kFirst[bytes] || code > 0x10FFFF || surrogate) return {};
  return {code, bytes, true};
}

std::string printable(std::string_view text, std::size_t limit) {
  std::size_t end = text.size();
  if (end > limit) {
    end = limit;
    while (end > 0 && is_continuation(text[end])) --end;  // not in the middle of a character
  }
  std::string out;
  for (std::string_view rest = text.substr(0, end); !rest.empty();) {
    const Utf8Character character = first_character(rest);
    const char32_t c = character.code;
    if (!character.valid)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(rest[0]));
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c < 0x20 || (c >= 0x7F && c < 0xA0))
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    else if (turns_direction(c))
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += rest.substr(0, character.bytes);
    rest.remove_prefix(character.bytes);
  }
  return end < text.size() ? out + "..." : out;
}

std::string quote_text(std::string_view text, std::size_t limit) {
  return fmt::format("'{}'", printable(text, limit));
}

std::string quote_path(const std::filesystem::path& path) {
  constexpr std::size_t kLongestPath = 4096;
  return quote_text(path.native(), kLongestPath);
}

std::string shell_word(const std::string& word) {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'') quoted += "'\\'";  // out of the quotes, a quote, and in again
    quoted += c;
  }
  return quoted + "'";
}

std::string with_commas(std::int64_t value) {
  const std::string digits = fmt::format("{}", value);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const std::size_t left = digits.size() - i;
    if (i > 0 && left % 3 == 0 && digits[i - 1] != '-') text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

}  // namespace quern
