#include "simt/shared_arena.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "simt/poison.hpp"

namespace quern::simt {

namespace {

constexpr std::size_t kAlignment = 1024;

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// A NaN in every float and bfloat16 that overlaps it, and unlikely to be written by accident.
constexpr unsigned char kZonePattern[4] = {0xd7, 0xff, 0xd3, 0xff};

void paint(std::byte* zone, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) zone[i] = static_cast<std::byte>(kZonePattern[i % 4]);
}

/// Index of the first byte that lost its paint, or `bytes`.
std::size_t first_difference(const std::byte* zone, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i)
    if (zone[i] != static_cast<std::byte>(kZonePattern[i % 4])) return i;
  return bytes;
}

}  // namespace

SharedArena::SharedArena(std::size_t dynamic_limit)
    : dynamic_limit_(dynamic_limit),
      // Enough for the dynamic memory as a whole and in pieces, and for static arrays: each costs two red
      // zones and its alignment at most.
      capacity_(round_up(2 * dynamic_limit + kStaticLimit + 64 * (2 * kRedZone + kAlignment), kAlignment)),
      base_(static_cast<std::byte*>(std::aligned_alloc(kAlignment, capacity_))) {
  if (base_ == nullptr) throw std::bad_alloc();
  poison(base_, capacity_);
  arrays_.reserve(16);
}

SharedArena::~SharedArena() {
  unpoison(base_, capacity_);
  std::free(base_);
}

void SharedArena::reset(std::size_t dynamic_bytes) {
  poison(base_, used_);
  used_ = 0;
  static_bytes_ = 0;
  arrays_.clear();
  place(nullptr, "dynamic shared memory", dynamic_bytes, kAlignment);
}

std::byte* SharedArena::place(const void* key, std::string name, std::size_t bytes, std::size_t alignment) {
  // Each array has a zone of its own on both sides. The upper one starts at the array's last byte, without a
  // gap.
  const std::size_t begin = round_up(used_ + kRedZone, alignment);
  const std::size_t end = round_up(begin + bytes, 4) + kRedZone;
  if (end > capacity_) return nullptr;
  std::byte* const array = base_ + begin;
  unpoison(base_ + used_, end - used_);
  paint(array - kRedZone, kRedZone);
  std::memset(array, kUninitialised, bytes);
  paint(array + bytes, kRedZone);
  poison(base_ + used_, begin - used_);
  poison(array + bytes, static_cast<std::size_t>(base_ + end - (array + bytes)));
  used_ = end;
  arrays_.push_back(Array{key, std::move(name), array, bytes});
  return array;
}

void* SharedArena::find_or_add(const void* key, const char* name, std::size_t bytes, std::size_t alignment) {
  for (const Array& array : arrays_)
    if (array.key == key) return array.base;
  if (static_bytes_ + bytes > kStaticLimit) return nullptr;
  static_bytes_ += bytes;
  return place(key, name, bytes, alignment);
}

void* SharedArena::carve(std::size_t offset, std::size_t bytes, std::size_t alignment) {
  const void* const key = dynamic() + offset;  // an address that no declaration has
  for (const Array& array : arrays_)
    if (array.key == key && array.bytes == bytes) return array.base;
  return place(key, fmt::format("dynamic shared memory from byte {} on", offset), bytes, alignment);
}

const SharedArena::Array* SharedArena::overwritten(std::ptrdiff_t& offset) const {
  // The first byte that an array does not own is the likeliest culprit: look above every array before below.
  for (const Array& array : arrays_) {
    unpoison(array.base + array.bytes, kRedZone);
    const std::size_t above = first_difference(array.base + array.bytes, kRedZone);
    poison(array.base + array.bytes, kRedZone);
    if (above != kRedZone) {
      offset = static_cast<std::ptrdiff_t>(array.bytes + above);
      return &array;
    }
  }
  for (const Array& array : arrays_) {
    unpoison(array.base - kRedZone, kRedZone);
    const std::size_t below = first_difference(array.base - kRedZone, kRedZone);
    poison(array.base - kRedZone, kRedZone);
    if (below != kRedZone) {
      offset = static_cast<std::ptrdiff_t>(below) - static_cast<std::ptrdiff_t>(kRedZone);
      return &array;
    }
  }
  return nullptr;
}

const SharedArena::Array& SharedArena::nearest(const void* address) const {
  const auto* const at = static_cast<const std::byte*>(address);
  const Array* best = &arrays_.front();
  std::ptrdiff_t best_distance = std::numeric_limits<std::ptrdiff_t>::max();
  for (const Array& array : arrays_) {
    const std::ptrdiff_t distance = at < array.base                  ? array.base - at
                                    : at >= array.base + array.bytes ? at - (array.base + array.bytes) + 1
                                                                     : 0;
    if (distance < best_distance) {
      best = &array;
      best_distance = distance;
    }
  }
  return *best;
}

}  // namespace quern::simt
