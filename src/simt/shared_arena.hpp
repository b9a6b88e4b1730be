#pragma once

/// The shared memory of one running block: every array stands between red zones, is NaN until written, and is
/// found again by the key of its declaration.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace quern::simt {

/// Bytes of all ones: a NaN as float and as bfloat16, -1 as an integer.
inline constexpr unsigned char kUninitialised = 0xff;

class SharedArena {
 public:
  /// CUDA's limit for arrays declared in a kernel, and for all shared memory of a launch that asks for no
  /// more.
  static constexpr std::size_t kStaticLimit = 48 * 1024;
  static constexpr std::size_t kRedZone = 256;

  struct Array {
    const void* key = nullptr;  ///< null for dynamic shared memory
    std::string name;
    std::byte* base = nullptr;
    std::size_t bytes = 0;
  };

  explicit SharedArena(std::size_t dynamic_limit);
  ~SharedArena();
  SharedArena(const SharedArena&) = delete;
  SharedArena& operator=(const SharedArena&) = delete;

  /// Forgets the last block's arrays and makes room for `dynamic_bytes`.
  void reset(std::size_t dynamic_bytes);
  /// The array of this key, made on first use; null when the arrays would exceed kStaticLimit.
  void* find_or_add(const void* key, const char* name, std::size_t bytes, std::size_t alignment);
  /// The piece of the dynamic shared memory that starts at `offset`, made on first use.
  void* carve(std::size_t offset, std::size_t bytes, std::size_t alignment);
  std::byte* dynamic() const { return arrays_.front().base; }

  /// The first array around which a red zone was overwritten, and the distance of the first such byte from
  /// the array's start (negative: below it); null when all are intact.
  const Array* overwritten(std::ptrdiff_t& offset) const;

  bool contains(const void* address) const {
    return static_cast<std::size_t>(static_cast<const std::byte*>(address) - base_) < capacity_;
  }
  const std::byte* base() const { return base_; }
  std::size_t capacity() const { return capacity_; }
  std::size_t used() const { return used_; }
  std::size_t static_bytes() const { return static_bytes_; }
  const std::vector<Array>& arrays() const { return arrays_; }
  /// The array that lies nearest to an address, for messages.
  const Array& nearest(const void* address) const;

 private:
  std::byte* place(const void* key, std::string name, std::size_t bytes, std::size_t alignment);

  std::size_t dynamic_limit_;
  std::size_t capacity_;
  std::byte* base_;
  std::size_t used_ = 0;
  std::size_t static_bytes_ = 0;
  std::vector<Array> arrays_;
};

}  // namespace quern::simt
