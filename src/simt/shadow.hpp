#pragma once

/// Shadow memory of the race detector: for every four bytes of shared or device memory, who wrote them last
/// and who has read them since.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace quern::simt {

/// One access, and its position in the order of its block.
struct Stamp {
  enum class Kind : std::uint8_t { none, plain, atomic, async };

  std::uint32_t block = 0;       ///< linear index in the grid
  std::uint32_t place = 0;       ///< see Places
  std::uint32_t barrier = 0;     ///< block barriers passed before it
  std::uint32_t fence = 0;       ///< __threadfence()s of any thread of the block before it
  std::uint32_t warp_epoch = 0;  ///< synchronisations of the whole warp before it
  std::uint32_t lane_clock = 0;  ///< synchronisations of part of the warp before it
  std::uint16_t thread = 0;
  Kind kind = Kind::none;
};

/// The history of four bytes, or of one byte inside a split cell. Two readers are kept: enough to find every
/// race between a writer and readers that neither a partial warp synchronisation nor a fence tells apart.
struct Cell {
  std::uint32_t tag = 0;    ///< the launch or block run the history belongs to; an older one is void
  std::uint32_t split = 0;  ///< 1 + index of the four single-byte cells that replace this one; 0: not split
  Stamp write;
  Stamp reads[2];
};

/// Cells for a range of memory, mapped without being touched.
class ShadowRange {
 public:
  ShadowRange() = default;
  explicit ShadowRange(std::size_t bytes);
  ~ShadowRange();
  ShadowRange(ShadowRange&& other) noexcept;
  ShadowRange& operator=(ShadowRange&& other) noexcept;

  explicit operator bool() const noexcept { return cells_ != nullptr; }
  Cell& cell(std::size_t granule) const { return cells_[granule]; }

 private:
  Cell* cells_ = nullptr;
  std::size_t mapped_ = 0;
};

/// Single-byte cells of granules that were accessed in parts.
class SplitCells {
 public:
  void clear() { cells_.clear(); }
  /// The four cells of `whole`, split now if it was not before.
  std::array<Cell, 4>& of(Cell& whole) {
    if (whole.split == 0) {
      Cell part = whole;
      part.split = 0;
      cells_.push_back({part, part, part, part});
      whole.split = static_cast<std::uint32_t>(cells_.size());
    }
    return cells_[whole.split - 1];
  }

 private:
  std::deque<std::array<Cell, 4>> cells_;
};

}  // namespace quern::simt
