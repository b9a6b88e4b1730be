#pragma once

/// Threads of the CPU path: a pool of its own, with work dealt out by part numbers so that results depend on
/// the number of parts alone.
///
/// Why not OpenMP's pool: its threads spin for milliseconds before they sleep, and how long can only be said
/// in the environment before the process starts. On a machine with other work that is ruinous: a spinning
/// thread uses up the time slice in which the one it waits for could run. These threads spin for a tenth of a
/// millisecond, more than any wait inside a step on an idle machine, then sleep, so that a busy scheduler
/// runs those that have work. (Measurements: threads.cpp.)

#include <cstdint>
#include <vector>

namespace quern::onednn {

/// Cores that this process may use (its affinity mask when first asked), one hardware thread of each physical
/// core first.
const std::vector<int>& usable_cores();

/// Binding threads to cores: QUERN_PIN=1 binds each thread of a pool to a core of its own, where there are
/// enough.
bool should_pin(const char* setting, int threads, int cores) noexcept;

/// Starts the threads that jobs of this many parts need, so that no run has to.
void reserve_threads(int threads);

namespace detail {
/// Phases of a job: run(context, part, phase) for all parts of one phase before any of the next.
struct Job {
  void (*run)(const void* context, int part, int phase) = nullptr;
  const void* context = nullptr;
  int parts = 0, phases = 0;
};
void run_job(const Job& job) noexcept;
}  // namespace detail

/// Runs each phase for all parts 0 .. parts-1 on up to `parts` threads, the caller's included, with a barrier
/// between phases: phase(part). A phase must not throw. Inside another job, or while another thread's job
/// runs, all parts run on the caller's thread: the results are the same.
template <class... Phases>
void parallel(int parts, const Phases&... phases) {
  const auto dispatch = [&](int part, int phase) {
    int index = 0;
    ((index++ == phase ? static_cast<void>(phases(part)) : static_cast<void>(0)), ...);
  };
  using Dispatch = decltype(dispatch);
  detail::run_job({[](const void* context, int part, int phase) {
                     (*static_cast<const Dispatch*>(context))(part, phase);
                   },
                   &dispatch, parts, static_cast<int>(sizeof...(phases))});
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

/// `threads`, or 1 when `work` (in nanoseconds of one thread) is not worth the others' while.
inline int worthwhile(int threads, double nanoseconds) noexcept {
  return nanoseconds > 4000.0 + 500.0 * threads ? threads : 1;
}

}  // namespace quern::onednn
