#pragma once

/// What the scheduler tells the race detector about one running block. The default does nothing: plain
/// launches.

#include <cstddef>
#include <cstdint>

#include "simt/runtime.hpp"

namespace quern::simt {

class SharedArena;

class Observer {
 public:
  virtual ~Observer() = default;

  virtual void block_begins(const SharedArena&, std::uint64_t /*block*/) {}
  virtual void block_ends() {}
  /// Every thread of the block has reached a barrier: what came before is ordered before what follows.
  virtual void block_synchronised() {}
  /// The lanes of `mask` (all alive ones of the warp if `whole`) have met with memory ordering.
  virtual void warp_synchronised(int /*warp*/, unsigned /*mask*/, bool /*whole*/) {}
  /// All lanes of a warp have come to a named barrier.
  virtual void warp_arrives(int /*barrier*/, int /*warp*/) {}
  /// The named barrier is complete: the warps of `waiting` learn of what all that arrived did before.
  virtual void warps_released(int /*barrier*/, std::uint32_t /*waiting*/) {}

  enum class Access : std::uint8_t { read, write, atomic, async_begin, async_arrive };
  virtual void access(const void* /*address*/, std::size_t /*bytes*/, Access, Site) {}
  virtual void fence() {}
};

}  // namespace quern::simt
