#pragma once

/// Threads of the CPU path: OpenMP's pool (the one that Debian's oneDNN uses as well), pinned, with work
/// dealt out by part numbers so that results depend on the number of parts alone.
///
/// Pinning. An unpinned pool that fills the machine stalls: two threads may share a core for a scheduler tick
/// (4 ms) while the others wait in a barrier. So each thread of a pool that fills the process's cores binds
/// itself to one of them, the first time it works here. A smaller pool is left to the scheduler, which has
/// cores to spare, and two processes would otherwise pile up on the same ones. QUERN_PIN=0 switches pinning
/// off, QUERN_PIN=1 pins smaller pools too. Threads that a pinned thread creates inherit its core: call
/// unpin_this_thread() in them.

#include <omp.h>

#include <cstdint>
#include <vector>

namespace quern::onednn {

/// Cores that this process may use (its affinity mask when first asked, before any pinning), one hardware
/// thread of each physical core first.
const std::vector<int>& usable_cores();

/// Pools to pin: those that fill the machine, none, or all that fit.
enum class PinPolicy : std::uint8_t { full_pools, never, always };
/// From QUERN_PIN's value; null: not set.
PinPolicy parse_pin_policy(const char* text) noexcept;
bool should_pin(PinPolicy policy, int threads, int cores) noexcept;

/// Binds the calling thread, number `thread` of a pool of `threads`, where the policy above says so. Cheap
/// when done.
void pin_this_thread(int thread, int threads) noexcept;

/// Gives the calling thread all cores of the process back.
void unpin_this_thread() noexcept;

/// Runs each phase for all parts 0 .. parts-1 on up to `parts` threads, with a barrier between phases:
/// phase(part). A phase must not throw. Should the runtime grant fewer threads, each takes several parts: the
/// results are the same.
template <class... Phases>
void parallel(int parts, const Phases&... phases) {
  if (parts == 1) {
    (phases(0), ...);
    return;
  }
#pragma omp parallel num_threads(parts)
  {
    const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    pin_this_thread(thread, threads);
    const auto run = [&](const auto& phase, bool first) {
      if (!first) {
#pragma omp barrier
      }
      for (int part = thread; part < parts; part += threads) phase(part);
    };
    bool first = true;
    ((run(phases, first), first = false), ...);
  }
}

/// The share of part `part` in `items` things: [begin, end), evenly dealt, in order.
struct Range {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const noexcept { return end - begin; }
};
inline Range share(std::int64_t items, int part, int parts) noexcept {
  return {items * part / parts, items * (part + 1) / parts};
}
/// The same in multiples of `grain` items.
inline Range share(std::int64_t items, std::int64_t grain, int part, int parts) noexcept {
  const Range grains = share((items + grain - 1) / grain, part, parts);
  const std::int64_t end = grains.end * grain;
  return {grains.begin * grain < items ? grains.begin * grain : items, end < items ? end : items};
}

/// `threads`, or 1 when `work` (in nanoseconds of one thread) is not worth waking the others. Nothing in
/// between: libgomp ends the threads that a smaller team leaves out and starts new ones for the next larger
/// team.
inline int worthwhile(int threads, double nanoseconds) noexcept {
  return nanoseconds > 4000.0 + 500.0 * threads ? threads : 1;
}

}  // namespace quern::onednn
