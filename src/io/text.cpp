#include "io/text.hpp"

#include <fmt/format.h>

#include <iterator>

namespace quern {
namespace {

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u;
}

/// Bytes at `i` that belong to a control character: C0, DEL, or a C1 control in its UTF-8 form.
std::size_t control_length(std::string_view text, std::size_t i) {
  const auto byte = static_cast<unsigned char>(text[i]);
  if (byte < 0x20 || byte == 0x7F) return 1;
  if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) return 2;
  return 0;
}

}  // namespace

std::string quote_text(std::string_view text, std::size_t limit) {
  std::size_t end = text.size();
  if (end > limit) {
    end = limit;
    while (end > 0 && is_continuation(text[end])) --end;  // not in the middle of a character
  }
  std::string result = "'";
  for (std::size_t i = 0; i < end;) {
    const std::size_t control = control_length(text, i);
    if (control == 0) {
      result += text[i++];
      continue;
    }
    for (std::size_t k = 0; k < control && i < end; ++k, ++i) {
      fmt::format_to(std::back_inserter(result), "\\x{:02x}", static_cast<unsigned char>(text[i]));
    }
  }
  result += end < text.size() ? "...'" : "'";
  return result;
}

std::string quote_path(const std::filesystem::path& path) {
  constexpr std::size_t kLongestPath = 4096;
  return quote_text(path.native(), kLongestPath);
}

}  // namespace quern
