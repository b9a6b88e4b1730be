#pragma once

/// Decompression of gzip data that may be damaged or hostile, as a stream: nothing is allocated for its
/// output.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace quern {

/// Deflate cannot expand a byte to more than this many: a match of 258 bytes takes at least 2 bits.
inline constexpr std::uint64_t kMaxDeflateRatio = 1032;

bool is_gzip(std::span<const std::byte> content) noexcept;

class GzipReader {
 public:
  /// `content` must outlive the reader; `file` is quoted for messages.
  GzipReader(std::span<const std::byte> content, std::string file);
  ~GzipReader();
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  /// Fills `into`; returns fewer bytes only where the data end, with every checksum right and no byte left
  /// over. Throws an input error for data that are damaged, cut short or followed by something else.
  std::size_t read(std::span<std::uint8_t> into);

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::span<const std::byte> rest_;  ///< not yet given to zlib
  std::string file_;
  bool ended_ = false;
};

}  // namespace quern
