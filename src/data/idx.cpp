#include "data/idx.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "data/gzip.hpp"
#include "io/text.hpp"
#include "quern/error.hpp"
#include "quern/file.hpp"

namespace quern {
namespace {

constexpr int kMaxRank = 4;
constexpr std::uint8_t kUnsignedByte = 0x08;

const char* type_name(std::uint8_t code) {
  switch (code) {
    case 0x09:
      return "signed bytes";
    case 0x0B:
      return "16-bit integers";
    case 0x0C:
      return "32-bit integers";
    case 0x0D:
      return "32-bit floats";
    case 0x0E:
      return "64-bit floats";
    default:
      return "elements of an unknown type";
  }
}

/// The content as a stream, decompressed where need be. Reads return fewer bytes only at the end.
class Source {
 public:
  Source(std::span<const std::byte> content, const std::string& file) : content_(content) {
    if (is_gzip(content)) gzip_.emplace(content, file);
  }
  bool compressed() const { return gzip_.has_value(); }
  std::size_t read(std::span<std::uint8_t> into) {
    if (gzip_) return gzip_->read(into);
    const std::size_t count = std::min(into.size(), content_.size() - position_);
    if (count > 0) std::memcpy(into.data(), content_.data() + position_, count);
    position_ += count;
    return count;
  }

 private:
  std::span<const std::byte> content_;
  std::size_t position_ = 0;
  std::optional<GzipReader> gzip_;
};

std::int64_t big_endian_32(const std::uint8_t* bytes) {
  return std::int64_t{bytes[0]} << 24 | std::int64_t{bytes[1]} << 16 | std::int64_t{bytes[2]} << 8 | bytes[3];
}

std::vector<std::int64_t> read_extents(Source& source, const std::string& file) {
  std::uint8_t magic[4];
  if (source.read(magic) != sizeof magic)
    fail_input("{} is too short for an IDX file: it ends within its first 4 bytes; download it again", file);
  if (magic[0] != 0 || magic[1] != 0)
    fail_input(
        "{} is not an IDX file: it begins with {:02x} {:02x} {:02x} {:02x}, expected 00 00 08 and the rank; "
        "check the path",
        file, magic[0], magic[1], magic[2], magic[3]);
  if (magic[2] != kUnsignedByte)
    fail_input("{} holds {} (IDX type {:02x}), expected unsigned bytes (08); convert it", file,
               type_name(magic[2]), magic[2]);
  const int rank = magic[3];
  if (rank < 1 || rank > kMaxRank)
    fail_input("{} has {} dimensions, expected 1 to {}; is it the right file?", file, rank, kMaxRank);

  std::uint8_t bytes[4 * kMaxRank];
  const std::size_t wanted = 4 * static_cast<std::size_t>(rank);
  if (source.read(std::span(bytes).first(wanted)) != wanted)
    fail_input("{} is truncated: it ends within its {} dimensions; download it again", file, rank);
  std::vector<std::int64_t> extents;
  extents.reserve(static_cast<std::size_t>(rank));
  for (int axis = 0; axis < rank; ++axis) extents.push_back(big_endian_32(bytes + 4 * axis));
  return extents;
}

/// Elements the extents promise, if the content can hold them at all.
std::uint64_t promised_elements(std::span<const std::int64_t> extents, std::uint64_t content_bytes,
                                bool compressed, const std::string& file) {
  const std::uint64_t header = 4 + 4 * extents.size();
  std::uint64_t elements = 1;
  for (const std::int64_t extent : extents) {
    if (extent == 0)
      fail_input("{} has a dimension of 0 ({}); download it again", file, fmt::join(extents, "x"));
    if (__builtin_mul_overflow(elements, static_cast<std::uint64_t>(extent), &elements) ||
        elements > kMaxIdxElements)
      fail_input("{} claims {} elements, more than the {} that are read; is it the right file?", file,
                 fmt::join(extents, "x"), kMaxIdxElements);
  }
  if (!compressed && header + elements > content_bytes)
    fail_input("{} is truncated: {} elements need {} bytes, the file has {}; download it again", file,
               fmt::join(extents, "x"), header + elements, content_bytes);
  if (!compressed && header + elements < content_bytes)
    fail_input("{} is oversized: {} elements need {} bytes, but {} more follow; download it again", file,
               fmt::join(extents, "x"), header + elements, content_bytes - header - elements);
  if (compressed && header + elements > content_bytes * kMaxDeflateRatio)
    fail_input(
        "{} is truncated: {} elements need {} bytes, more than {} bytes of gzip data can hold; "
        "download it again",
        file, fmt::join(extents, "x"), header + elements, content_bytes);
  return elements;
}

}  // namespace

IdxArray parse_idx(std::span<const std::byte> content, std::string_view name) {
  const std::string file = quote_path(name);
  Source source(content, file);
  IdxArray array;
  array.extents = read_extents(source, file);
  const std::uint64_t elements = promised_elements(array.extents, content.size(), source.compressed(), file);
  array.values.resize(elements);
  const std::size_t found = source.read(array.values);
  if (found != elements)
    fail_input("{} is truncated: {} elements promised, {} found; download it again", file, elements, found);
  std::uint8_t next = 0;
  // Asked for one more byte, gzip data either end, checksum and all, or show that they expand too far.
  if (source.read({&next, 1}) != 0)
    fail_input(
        "{} is oversized: it expands past the {} elements ({}) that its header promises; download it again",
        file, elements, fmt::join(array.extents, "x"));
  return array;
}

IdxArray load_idx(const std::filesystem::path& path) {
  constexpr std::uint64_t kMaxHeader = 4 + 4 * kMaxRank;
  return parse_idx(read_file(path, kMaxIdxElements + kMaxHeader), path.native());
}

}  // namespace quern
