#include "simt/memory.hpp"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "simt/bits.hpp"
#include "simt/poison.hpp"
#include "simt/shared_arena.hpp"

namespace quern::simt {

namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kGuard = 256;
constexpr unsigned char kGuardPattern =
    0xfb;  // a NaN as float or bfloat16, and not what unwritten memory holds

std::mutex mutex;
std::map<std::byte*, MemoryRange>& ranges() {
  static std::map<std::byte*, MemoryRange> map;
  return map;
}

MemoryRange* find(const void* address, std::size_t bytes) {
  auto next = ranges().upper_bound(const_cast<std::byte*>(static_cast<const std::byte*>(address)));
  if (next == ranges().begin()) return nullptr;
  MemoryRange& range = (--next)->second;
  return range.contains(address, bytes) ? &range : nullptr;
}

void add(std::byte* base, std::size_t bytes, bool guarded, bool initialised) {
  MemoryRange range;
  range.base = base;
  range.bytes = bytes;
  range.guarded = guarded;
  range.initialised.assign((bytes + 7) / 8, initialised ? 0xff : 0x00);
  const std::lock_guard lock(mutex);
  ranges()[base] = std::move(range);
}

/// Index of the first byte that differs from the pattern, or kGuard. Repairs the zone.
std::size_t first_damage(std::byte* zone) {
  unpoison(zone, kGuard);
  std::size_t at = 0;
  while (at < kGuard && zone[at] == static_cast<std::byte>(kGuardPattern)) ++at;
  if (at != kGuard) std::memset(zone, kGuardPattern, kGuard);
  poison(zone, kGuard);
  return at;
}

}  // namespace

void MemoryRange::set_initialised(std::size_t offset, std::size_t count, bool value) {
  set_bits(initialised, offset, count, value);
}

bool MemoryRange::is_initialised(std::size_t offset, std::size_t count) const {
  for (std::size_t at = offset; at < offset + count; ++at) {
    if (bit_at(initialised, at)) continue;
    // Written behind the detector's back, by a plain launch or by the host: no longer what an allocation is
    // filled with.
    if (base[at] != static_cast<std::byte>(kUninitialised)) continue;
    return false;
  }
  return true;
}

void* allocate_device_memory(std::size_t bytes) {
  const std::size_t total = (bytes + 2 * kGuard + kAlignment - 1) / kAlignment * kAlignment;
  auto* const memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, total));
  if (memory == nullptr) throw std::bad_alloc();
  std::byte* const base = memory + kGuard;
  std::memset(memory, kGuardPattern, kGuard);
  std::memset(base, kUninitialised, bytes);
  std::memset(base + bytes, kGuardPattern, kGuard);
  poison(memory, kGuard);
  poison(base + bytes, kGuard);
  add(base, bytes, true, false);
  return base;
}

void free_device_memory(void* pointer) noexcept {
  if (pointer == nullptr) return;
  auto* const base = static_cast<std::byte*>(pointer);
  {
    const std::lock_guard lock(mutex);
    const auto found = ranges().find(base);
    if (found == ranges().end() || !found->second.guarded) return;
    unpoison(base - kGuard, kGuard);
    unpoison(base + found->second.bytes, kGuard);
    ranges().erase(found);
  }
  std::free(base - kGuard);
}

bool in_device_memory(const void* address, std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex);
  return find(address, bytes) != nullptr;
}

void register_memory(void* base, std::size_t bytes, bool initialised) {
  add(static_cast<std::byte*>(base), bytes, false, initialised);
}

void unregister_memory(void* base) noexcept {
  const std::lock_guard lock(mutex);
  const auto found = ranges().find(static_cast<std::byte*>(base));
  if (found != ranges().end() && !found->second.guarded) ranges().erase(found);
}

void mark_initialised(const void* base, std::size_t bytes, bool initialised) {
  const std::lock_guard lock(mutex);
  if (MemoryRange* const range = find(base, bytes))
    range->set_initialised(static_cast<std::size_t>(static_cast<const std::byte*>(base) - range->base), bytes,
                           initialised);
}

void copy_initialised(const void* to, const void* from, std::size_t bytes) {
  const std::lock_guard lock(mutex);
  MemoryRange* const target = find(to, bytes);
  const MemoryRange* const source = find(from, bytes);
  if (target == nullptr || source == nullptr) return;
  const auto target_offset = static_cast<std::size_t>(static_cast<const std::byte*>(to) - target->base);
  const auto source_offset = static_cast<std::size_t>(static_cast<const std::byte*>(from) - source->base);
  for (std::size_t i = 0; i < bytes; ++i)
    target->set_initialised(target_offset + i, 1, bit_at(source->initialised, source_offset + i));
}

std::vector<MemoryRange*> device_memory_ranges() {
  const std::lock_guard lock(mutex);
  std::vector<MemoryRange*> all;
  for (auto& [base, range] : ranges()) all.push_back(&range);
  return all;
}

std::optional<std::string> check_guards() {
  const std::lock_guard lock(mutex);
  std::optional<std::string> message;
  for (auto& [base, range] : ranges()) {
    if (!range.guarded) continue;
    const std::size_t above = first_damage(base + range.bytes);
    const std::size_t below = first_damage(base - kGuard);
    if (message || (above == kGuard && below == kGuard)) continue;
    if (above != kGuard)
      message = fmt::format("a write {} bytes past the end of an allocation of {} bytes", above, range.bytes);
    else
      message = fmt::format("a write {} bytes below an allocation of {} bytes", kGuard - below, range.bytes);
  }
  return message;
}

}  // namespace quern::simt
