#pragma once

/// The IDX format of the MNIST files: two zero bytes, the element type, the rank, the extents as big-endian
/// 32-bit numbers, then the elements, row-major. Source: the description on MNIST's page
/// (yann.lecun.com/exdb/mnist).

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

struct IdxArray {
  std::vector<std::int64_t> extents;  ///< outermost first, 1 to 4 of them, none 0
  std::vector<std::uint8_t> values;
};

/// Largest array that is read, in elements.
inline constexpr std::uint64_t kMaxIdxElements = std::uint64_t{8} << 30;

/// Parses a file's content, plain or gzip (told by its first bytes, not by the name). Elements must be
/// unsigned bytes. Throws an input error for anything that does not fit: see idx.cpp for the cases. `name`
/// stands for the file in messages. The size that the header promises is checked against the content before
/// it is allocated.
IdxArray parse_idx(std::span<const std::byte> content, std::string_view name);
IdxArray load_idx(const std::filesystem::path& path);

}  // namespace quern
