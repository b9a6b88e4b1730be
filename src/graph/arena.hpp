#pragma once

/// Memory planning: byte offsets in one arena such that values alive at the same time never overlap.

#include <cstddef>
#include <vector>

#include "graph/liveness.hpp"

namespace quern {

struct ArenaRequest {
  std::size_t bytes = 0;
  Life life;
};

struct ArenaLayout {
  std::vector<std::size_t> offsets;  ///< one per request, multiples of 256
  std::size_t bytes = 0;             ///< of the whole arena
};

/// Greedy by size: the largest first, each at the lowest offset that is free throughout its life
/// (Pisarchyk & Lee 2020, "Efficient memory management for deep neural net inference", section 5).
/// With `reuse` off every request gets bytes of its own.
ArenaLayout plan_arena(const std::vector<ArenaRequest>& requests, bool reuse);

}  // namespace quern
