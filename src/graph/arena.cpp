#include "graph/arena.hpp"

#include <algorithm>
#include <numeric>

namespace quern {

ArenaLayout plan_arena(const std::vector<ArenaRequest>& requests, bool reuse) {
  constexpr std::size_t kAlignment = 256;
  const auto aligned = [](std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; };
  std::vector<std::size_t> by_size(requests.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](std::size_t a, std::size_t b) { return requests[a].bytes > requests[b].bytes; });

  ArenaLayout layout;
  layout.offsets.resize(requests.size());
  std::vector<std::size_t> placed;  // sorted by offset
  for (const std::size_t request : by_size) {
    const std::size_t bytes = aligned(requests[request].bytes);
    std::size_t offset = 0;
    for (const std::size_t other : placed) {
      if (reuse && !requests[other].life.overlaps(requests[request].life)) continue;
      if (layout.offsets[other] >= offset + bytes) break;  // the gap before `other` is wide enough
      offset = std::max(offset, layout.offsets[other] + aligned(requests[other].bytes));
    }
    layout.offsets[request] = offset;
    layout.bytes = std::max(layout.bytes, offset + bytes);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), request,
                         [&](std::size_t a, std::size_t b) { return layout.offsets[a] < layout.offsets[b]; }),
        request);
  }
  return layout;
}

}  // namespace quern
