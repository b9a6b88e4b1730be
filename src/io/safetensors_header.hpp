#pragma once

/// The header of a safetensors file: parsed and checked, or laid out and written.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/safetensors.hpp"

namespace quern {

struct StoredLayout {
  StoredType dtype = StoredType::f32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  ///< byte range within the data
};

struct SafetensorsHeader {
  StringMap metadata;
  std::map<std::string, StoredLayout, std::less<>> tensors;
};

inline constexpr std::size_t kSafetensorsLengthBytes = 8;

/// The header's length from the first 8 bytes, checked against the file's size.
std::uint64_t safetensors_header_length(std::span<const std::byte> first_bytes, std::uint64_t file_size,
                                        const std::string& file);

/// Parses the JSON and checks that the tensors cover `data_size` bytes exactly. `file` is quoted for
/// messages.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_size,
                                           const std::string& file);

/// Product of the extents times the element size; false when that does not fit in 64 bits.
bool stored_size(StoredType type, std::span<const std::int64_t> shape, std::uint64_t& bytes) noexcept;

/// Order and leading bytes (length and header) of a file that holds these tensors.
struct SafetensorsPlan {
  std::vector<const TensorToStore*> order;
  std::string head;
};
SafetensorsPlan plan_safetensors(std::span<const TensorToStore> tensors, const StringMap& metadata);

}  // namespace quern
