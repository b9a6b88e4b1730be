#pragma once

/// What is ordered before what inside one block, and between blocks that meet through atomics: the race
/// detector's clock.
///
/// A __syncthreads() orders all that came before it. A whole-warp __syncwarp() starts a new epoch of its
/// warp; one over part of a warp exchanges the lanes' clocks. A named barrier starts a new epoch of each warp
/// that arrives and tells the waiting ones about all of them. Shuffles, votes and matrix instructions order
/// nothing.
///
/// Between blocks there are atomics on device memory: a thread releases by a __threadfence() and an atomic
/// after it, and acquires by an atomic and a __threadfence() after it. All that is ordered before the first
/// fence, by barriers or by an earlier acquisition, is then ordered before all that is ordered after the
/// second. That is the PTX memory model's rule for fences and relaxed atomics ("Causality order"): without
/// either fence, or without a barrier between it and the accesses of other threads, nothing is ordered.

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
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

  /// What was ordered before a fence, within its block.
  struct Horizon {
    std::uint32_t barrier = 0;  ///< block barriers passed
    std::uint32_t fence = 0;    ///< the fence's number in its block
    std::uint16_t thread = 0;
    WarpKnowledge epochs{};                        ///< of each warp: those below this are over
    std::array<std::uint32_t, kWarpSize> lanes{};  ///< likewise the clocks of the lanes of the thread's warp

    bool covers(const Stamp& stamp) const;
  };
  /// The latest known fence of each (block, thread).
  using Knowledge = std::map<std::pair<std::uint32_t, std::uint16_t>, std::shared_ptr<const Horizon>>;
  struct Acquired {
    Stamp when;  ///< ordered before whatever may rely on it
    Knowledge knowledge;
  };

  static void learn(Knowledge& to, const Knowledge& from);
  bool ordered_within_block(const Stamp& earlier, int thread) const;

  std::uint32_t block_ = 0;
  std::uint32_t barrier_ = 0;
  std::array<std::uint32_t, kWarps> warp_epoch_{};
  std::array<WarpKnowledge, kWarps>
      known_{};  ///< [warp][other]: epochs of `other` below this are known to be over
  std::array<WarpKnowledge, kNamedBarriers> arrivals_{};
  std::array<std::unique_ptr<LaneClocks>, kWarps> lane_clocks_;
  std::uint32_t fence_ = 0;                    ///< fences in this block so far
  std::map<int, Knowledge> fenced_;            ///< by thread: what its last fence is ready to release
  std::map<int, Knowledge> unfenced_;          ///< by thread: what its atomics have seen since its last fence
  std::vector<Acquired> acquired_;             ///< by this block
  std::map<const void*, Knowledge> released_;  ///< by address, since the launch began
};

}  // namespace quern::simt
