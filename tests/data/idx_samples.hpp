#pragma once

/// IDX and gzip files made in memory.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

namespace quern::test {

/// An IDX file: 00 00 `type` rank, the extents, the values.
std::vector<std::byte> make_idx(std::initializer_list<std::uint32_t> extents,
                                std::span<const std::uint8_t> values, std::uint8_t type = 0x08);
/// `count` values 0, 1, 2, ..
std::vector<std::uint8_t> counting(std::size_t count);
std::vector<std::byte> gzip(std::span<const std::byte> content, int level = 6);

}  // namespace quern::test
