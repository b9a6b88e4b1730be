#pragma once

/// The safetensors format: named tensors in one file, read by Python, Rust and C++ alike.
/// Source: https://github.com/huggingface/safetensors (section "Format" of its README).
///
///   8 bytes    length of the header, little-endian
///   header     JSON {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ..,
///              "__metadata__": {"key": "text", ..}}, padded at its end with spaces
///   data       the tensors' bytes, little-endian, row-major; offsets count from here
///
/// Files are not trusted. Every length is checked against the file before anything is allocated, names and
/// keys must be unique, and the tensors must cover the data exactly: no gap, no overlap, nothing left over.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/error.hpp"
#include "quern/file.hpp"
#include "quern/tensor.hpp"

namespace quern {

/// Element types of the format; `boolean` is a byte of 0 or 1.
enum class StoredType : std::uint8_t {
  boolean,
  u8,
  i8,
  f8_e4m3,
  f8_e5m2,
  u16,
  i16,
  f16,
  bf16,
  u32,
  i32,
  f32,
  u64,
  i64,
  f64  //
};

const char* to_string(StoredType type) noexcept;  ///< as in the file: "BOOL", "F32"
std::size_t size_of(StoredType type) noexcept;
/// The stored form of a Quern element type.
StoredType stored_type(DType type) noexcept;

/// What can be wrong with a file: each is its own kind, with its own message.
enum class SafetensorsFault : std::uint8_t {
  too_short,           ///< fewer than the 8 bytes of the header's length
  header_too_large,    ///< more than kMaxSafetensorsHeader
  header_beyond_file,  ///< the header's length exceeds the file: cut short, or another format
  bad_json,            ///< the header is not JSON in UTF-8, or does not begin with {
  duplicate_key,       ///< a tensor, a field or a metadata key occurs twice
  bad_structure,       ///< a value of the wrong type, an unknown or a missing field
  unknown_dtype,       ///< an element type that is not in StoredType
  bad_shape,           ///< too many dimensions, or an extent beyond 2^63 - 1
  size_overflow,       ///< the number of bytes does not fit in 64 bits
  bad_offsets,         ///< not a pair, or begin after end
  size_mismatch,       ///< offsets and shape disagree
  overlap,             ///< two tensors share bytes
  hole,                ///< bytes between two tensors, or before the first, that belong to none
  cut_short,           ///< a tensor ends beyond the file
  trailing_bytes,      ///< bytes after the last tensor
};

class SafetensorsError : public Error {
 public:
  SafetensorsError(SafetensorsFault fault, const std::string& message)
      : Error(ErrorKind::input, message), fault_(fault) {}
  SafetensorsFault fault() const noexcept { return fault_; }

 private:
  SafetensorsFault fault_;
};

inline constexpr std::uint64_t kMaxSafetensorsHeader = std::uint64_t{64} << 20;
inline constexpr std::size_t kMaxSafetensorsRank = 32;

struct StoredTensor {
  StoredType dtype = StoredType::f32;
  std::vector<std::int64_t> shape;   ///< outermost first; empty for a scalar; an extent may be 0
  std::span<const std::byte> bytes;  ///< aligned for its type only if the writer saw to it, as Quern's does
};

using StringMap = std::map<std::string, std::string, std::less<>>;

/// A file's content, owned. Moving keeps the tensors' bytes where they are.
class SafetensorsFile {
 public:
  /// Reads a file. Throws SafetensorsError for what is wrong in it, an input error if it cannot be opened.
  static SafetensorsFile load(const std::filesystem::path& path);
  /// The same from memory; `name` stands for the file in messages.
  static SafetensorsFile parse(std::span<const std::byte> content, std::string_view name);

  SafetensorsFile(SafetensorsFile&&) noexcept = default;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept = default;
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& name() const noexcept { return name_; }
  const StringMap& metadata() const noexcept { return metadata_; }
  const std::map<std::string, StoredTensor, std::less<>>& tensors() const noexcept { return tensors_; }
  /// Throws an input error that names the file and the tensor it lacks.
  const StoredTensor& at(std::string_view tensor) const;

 private:
  SafetensorsFile() = default;

  std::string name_;
  StringMap metadata_;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
  std::vector<std::byte> data_;
};

/// A tensor to be written; its bytes stay the caller's.
struct TensorToStore {
  std::string name;
  StoredType dtype = StoredType::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Writes a file atomically (file.hpp). The same tensors and metadata give the same bytes, in whatever order
/// they come: they are stored by element size, largest first, then by name, and the header is padded to a
/// multiple of 8 bytes, so that every tensor lies aligned in a mapped file. Throws an input error for a name
/// that is empty, reserved, not UTF-8 or used twice, a device error if the file cannot be written; a tensor
/// whose bytes do not fit its shape is a bug of the caller.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToStore> tensors,
                       const StringMap& metadata = {}, FileSystem& files = system_files());
/// The bytes that write_safetensors would put into the file.
std::vector<std::byte> encode_safetensors(std::span<const TensorToStore> tensors,
                                          const StringMap& metadata = {});

}  // namespace quern
