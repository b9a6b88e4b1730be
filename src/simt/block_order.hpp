#pragma once

/// What is ordered before what inside one block, and between blocks that meet through atomics: the race
/// detector's clock.
///
/// A __syncthreads() orders all that came before it. A whole-warp __syncwarp() starts a new epoch of its
/// warp; one over part of a warp exchanges the lanes' clocks. A named barrier starts a new epoch of each warp
/// that arrives and tells the waiting ones about all of them. Shuffles, votes and matrix instructions order
/// nothing. Between blocks, a __threadfence() followed by an atomic releases what its thread and, through
/// barriers, its block did before; a later atomic on the same address acquires it.

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "simt/runtime.hpp"
#include "simt/shadow.hpp"

namespace quern::simt {

class BlockOrder {
 public:
  static constexpr int kWarps = 32;
  static constexpr int kNamedBarriers = 16;

  /// Forgets what blocks of the last launch released.
  void launch_begins();
  void block_begins(std::uint32_t block);

  void block_synchronised() { ++barrier_; }
  void warp_synchronised(int warp, std::uint32_t lanes, bool whole);
  void warp_arrives(int barrier, int warp);
  void warps_released(int barrier, std::uint32_t waiting);
  void fence(int thread);
  void atomic(int thread, const void* address);

  /// An access of `thread` now.
  Stamp stamp(int thread, std::uint32_t place, Stamp::Kind kind) const;
  /// Whether `earlier` is ordered before whatever `thread` does now.
  bool ordered(const Stamp& earlier, int thread) const;

 private:
  using WarpKnowledge = std::array<std::uint32_t, kWarps>;

  /// The lanes' clocks of a warp in which part of the lanes have synchronised.
  struct LaneClocks {
    std::array<std::uint32_t, kWarpSize> own{};
    std::array<std::array<std::uint32_t, kWarpSize>, kWarpSize> known{};  ///< [who][of whom]
  };

  /// What an atomic handed from one block to others: its accesses before barrier `barrier`, and all of
  /// `thread` so far.
  struct Release {
    std::uint32_t block;
    std::uint32_t barrier;
    std::uint16_t thread;
  };
  struct Acquired {
    Release release;
    std::uint16_t by;       ///< the thread that acquired it; the others learn of it at the next barrier
    std::uint32_t barrier;  ///< barriers passed at that time
  };

  std::uint32_t block_ = 0;
  std::uint32_t barrier_ = 0;
  std::array<std::uint32_t, kWarps> warp_epoch_{};
  std::array<WarpKnowledge, kWarps>
      known_{};  ///< [warp][other]: epochs of `other` below this are known to be over
  std::array<WarpKnowledge, kNamedBarriers> arrivals_{};
  std::array<std::unique_ptr<LaneClocks>, kWarps> lane_clocks_;
  std::map<int, std::uint32_t> fences_;  ///< by thread: barriers passed at its last fence
  std::map<const void*, std::vector<Release>> released_;
  std::vector<Acquired> acquired_;
};

}  // namespace quern::simt
