#pragma once

/// Device memory between guard bands, and poison for what an implementation must write itself.

#include <optional>
#include <span>
#include <vector>

#include "check/operands.hpp"
#include "quern/device.hpp"

namespace quern::check {

/// Two patterns, so that a result which depends on what was in memory before cannot be the same twice.
/// `quiet_nan`: every float a recognisable NaN, bytes 0xA5; `finite`: floats of -1.6e30, bytes 0x5A.
enum class Poison : std::uint8_t { quiet_nan, finite };

/// Bytes of a tensor (or, for DType::u8, of anything) filled with poison.
std::vector<std::byte> poison(DType dtype, std::size_t bytes, Poison pattern);
/// Whether element `index` still holds the poison.
bool is_poison(const HostTensor& tensor, std::size_t index, Poison pattern);

/// A payload of exactly `bytes` bytes, 256-byte aligned, in one allocation with a guard band on either side.
/// The bands are at least 1 KiB and grow with the payload up to 64 KiB, so that a row or tile too many falls
/// into them.
class FencedBuffer {
 public:
  FencedBuffer(Device& device, std::size_t bytes);

  void* data() const noexcept { return buffer_.bytes() + band_; }
  std::size_t size() const noexcept { return bytes_; }
  void write(std::span<const std::byte> content);

  /// What is in there after a run: the payload, and the damage to the bands.
  struct Content {
    std::vector<std::byte> payload;
    std::optional<std::size_t> before;  ///< bytes before the payload of the damage nearest to it
    std::optional<std::size_t>
        after;  ///< bytes after its end, of the damage nearest to it (0: the next byte)
  };
  Content read() const;

 private:
  Device* device_;
  std::size_t bytes_, band_;
  Buffer buffer_;
};

/// A plain allocation of exactly `bytes` bytes: where the device or a sanitizer finds stray accesses itself.
class ExactBuffer {
 public:
  ExactBuffer(Device& device, std::size_t bytes) : device_(&device), buffer_(device, bytes) {}
  void* data() const noexcept { return buffer_.data(); }
  void write(std::span<const std::byte> content);
  std::vector<std::byte> read() const;

 private:
  Device* device_;
  Buffer buffer_;
};

}  // namespace quern::check
