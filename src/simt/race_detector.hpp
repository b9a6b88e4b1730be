#pragma once

/// The race detector: hears of every access of an instrumented kernel and of every synchronisation, and finds
/// unordered pairs, reads of unwritten memory and accesses outside of any array. It watches one launch at a
/// time, one block after the other.

#include <cstdint>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "simt/block.hpp"
#include "simt/block_order.hpp"
#include "simt/memory.hpp"
#include "simt/observer.hpp"
#include "simt/shadow.hpp"

namespace quern::simt {

class RaceDetector final : public Observer {
 public:
  void launch_begins(const GridLaunch& launch);
  /// What was found since, with source lines.
  std::vector<Fault> launch_ends();

  void block_begins(const SharedArena& arena, std::uint64_t block) override;
  void block_ends() override;
  void block_synchronised() override { order_.block_synchronised(); }
  void warp_synchronised(int warp, std::uint32_t mask, bool whole) override {
    order_.warp_synchronised(warp, mask, whole);
  }
  void warp_arrives(int barrier, int warp) override { order_.warp_arrives(barrier, warp); }
  void warps_released(int barrier, std::uint32_t waiting) override {
    order_.warps_released(barrier, waiting);
  }
  void access(const void* address, std::size_t bytes, Access access, Site site) override;
  void fence() override;

  /// An access the compiler has told of; `pc` is the instruction after it.
  void instrumented_access(const void* address, std::size_t bytes, bool write, const void* pc);

 private:
  /// A range of memory with its histories: the block's shared memory or one device allocation.
  struct Region {
    std::byte* base = nullptr;
    std::size_t bytes = 0;
    ShadowRange* shadow = nullptr;
    std::uint32_t tag = 0;
    SplitCells* split = nullptr;
    MemoryRange* memory = nullptr;  ///< null: shared memory
  };

  struct Finding {
    FaultKind kind;
    uint3 block, thread;
    std::uint32_t place;
    std::uint32_t other_place;
    std::string message;  ///< with {other} where the other access's line goes
  };

  void check(const void* address, std::size_t bytes, Access access, std::uint32_t place);
  void check_cell(Region& region, Cell& cell, Access access, const Stamp& now, const void* address);
  void note_reader(Cell& cell, const Stamp& now);
  void check_initialised(Region& region, std::size_t offset, std::size_t bytes, std::uint32_t place);
  void report_race(const Region& region, const Stamp& earlier, bool earlier_writes, Access access,
                   const Stamp& now, const void* address);
  [[noreturn]] void overrun(const void* address, std::size_t bytes, Access access, std::uint32_t place);
  void drop_consequences_of_races();
  Region* find_region(const void* address, std::size_t bytes);
  void add(FaultKind kind, std::uint32_t place, std::uint32_t other_place, std::string message);
  std::string describe(const Region& region, const void* address) const;
  uint3 block_position(std::uint32_t linear) const;
  std::uint32_t place_of(Site site);

  const GridLaunch* launch_ = nullptr;
  BlockOrder order_;
  std::vector<Region> regions_;
  Region shared_;
  ShadowRange shared_shadow_;
  std::size_t shared_shadow_bytes_ = 0;
  SplitCells shared_split_, device_split_;
  std::vector<std::uint8_t> shared_initialised_;
  std::size_t last_region_ = 0;
  std::uint32_t launch_tag_ = 0;
  std::uint32_t block_tag_ = 0;
  std::uintptr_t stack_low_ = 0, stack_high_ = 0;  ///< of the launching thread: kernel arguments lie there
  std::vector<Site> sites_;
  std::vector<Finding> findings_;
  std::set<std::tuple<FaultKind, std::uint32_t, std::uint32_t>> seen_;
};

/// The detector that watches this worker's running block; null in host code and in plain launches.
extern constinit thread_local RaceDetector* active_detector;

}  // namespace quern::simt
