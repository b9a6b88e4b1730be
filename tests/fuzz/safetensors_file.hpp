#pragma once

/// Bytes as a safetensors file: the length of the header, the header, the data.

#include <algorithm>

#include "tests/fuzz/fuzz_target.hpp"

namespace quern::fuzz {

inline Bytes safetensors_file(std::span<const std::byte> header, std::span<const std::byte> data) {
  Bytes file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<std::byte>(header.size() >> (8 * i) & 0xFF));
  file.insert(file.end(), header.begin(), header.end());
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

/// The same bytes, longer than eight, with a length that is right: the header goes up to the last closing
/// brace.
inline Bytes repair_length(std::span<const std::byte> content) {
  const auto rest = content.subspan(8);
  const auto brace = std::find(rest.rbegin(), rest.rend(), std::byte{'}'}).base();
  const auto length = static_cast<std::size_t>(brace - rest.begin());
  return safetensors_file(rest.first(length), rest.subspan(length));
}

}  // namespace quern::fuzz
