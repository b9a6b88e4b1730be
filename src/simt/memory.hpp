#pragma once

/// The emulator's device memory: allocations between guard zones, NaN until written, known by their bounds.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "simt/shadow.hpp"
#include "simt/simt.hpp"

namespace quern::simt {

/// A registered range of device memory.
struct MemoryRange {
  std::byte* base = nullptr;
  std::size_t bytes = 0;
  bool guarded = false;                   ///< made by allocate_device_memory, with guard zones around it
  std::vector<std::uint8_t> initialised;  ///< one bit a byte
  ShadowRange shadow;                     ///< of the race detector; empty before the first launch it watches

  bool contains(const void* address, std::size_t size) const {
    const auto* const at = static_cast<const std::byte*>(address);
    return at >= base && size <= bytes && at <= base + (bytes - size);
  }
  /// Marks or tests bytes [offset, offset + count).
  void set_initialised(std::size_t offset, std::size_t count, bool value);
  bool is_initialised(std::size_t offset, std::size_t count) const;
};

/// 256-byte-aligned memory filled with kUninitialised. Throws std::bad_alloc.
void* allocate_device_memory(std::size_t bytes);
void free_device_memory(void* pointer) noexcept;

/// Whether one registered range holds all of [address, address + bytes).
bool in_device_memory(const void* address, std::size_t bytes) noexcept;

/// All ranges by ascending address. They stay where they are until one is registered or unregistered.
std::vector<MemoryRange*> device_memory_ranges();

/// Looks at the guard zones of every allocation and repairs what it finds; the message names the first
/// overrun.
std::optional<std::string> check_guards();

}  // namespace quern::simt
