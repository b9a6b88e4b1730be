#pragma once

/// Messages in protobuf's wire format, written field by field: what ONNX files and TensorBoard events are
/// made of. Source: https://protobuf.dev/programming-guides/encoding (section "Message Structure").

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace quern {

static_assert(std::endian::native == std::endian::little, "fixed-size fields are little-endian");

class ProtoMessage {
 public:
  /// int32, int64, bool and enums.
  void integer(int field, std::int64_t value) {
    key(field, Wire::varint);
    varint(static_cast<std::uint64_t>(value));
  }
  void number(int field, float value) {
    key(field, Wire::fixed32);
    raw(&value, sizeof value);
  }
  void number(int field, double value) {
    key(field, Wire::fixed64);
    raw(&value, sizeof value);
  }
  /// Strings and bytes.
  void text(int field, std::string_view value) {
    key(field, Wire::length);
    varint(value.size());
    bytes_.append(value);
  }
  void message(int field, const ProtoMessage& value) { text(field, value.bytes_); }
  /// Repeated, packed.
  void integers(int field, std::span<const std::int64_t> values) {
    ProtoMessage packed;
    for (const std::int64_t value : values) packed.varint(static_cast<std::uint64_t>(value));
    message(field, packed);
  }
  void numbers(int field, std::span<const double> values) {
    key(field, Wire::length);
    varint(values.size_bytes());
    raw(values.data(), values.size_bytes());
  }

  const std::string& bytes() const noexcept { return bytes_; }

 private:
  enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, length = 2, fixed32 = 5 };

  void key(int field, Wire wire) {
    varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire));
  }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  void raw(const void* data, std::size_t size) { bytes_.append(static_cast<const char*>(data), size); }

  std::string bytes_;
};

}  // namespace quern
