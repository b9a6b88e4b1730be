#pragma once

/// Runs of bits in a byte vector.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace quern::simt {

inline bool bit_at(const std::vector<std::uint8_t>& bits, std::size_t at) {
  return (bits[at / 8] >> (at % 8) & 1) != 0;
}

inline void set_bits(std::vector<std::uint8_t>& bits, std::size_t first, std::size_t count, bool value) {
  std::size_t at = first;
  const std::size_t end = first + count;
  const auto set_one = [&] {
    const auto mask = static_cast<std::uint8_t>(1u << (at % 8));
    std::uint8_t& byte = bits[at / 8];
    byte = static_cast<std::uint8_t>(value ? byte | mask : byte & ~mask);
    ++at;
  };
  while (at < end && at % 8 != 0) set_one();
  if (end - at >= 8) {
    std::memset(bits.data() + at / 8, value ? 0xff : 0, (end - at) / 8);
    at += (end - at) / 8 * 8;
  }
  while (at < end) set_one();
}

inline bool all_bits(const std::vector<std::uint8_t>& bits, std::size_t first, std::size_t count) {
  for (std::size_t at = first; at < first + count; ++at)
    if (!bit_at(bits, at)) return false;
  return true;
}

}  // namespace quern::simt
