#pragma once

/// Where the time of a step goes, node by node.
///
///   Profiler profiler(session.device());
///   trainer.watch(1, [&](Executor& executor, std::int64_t) { profiler.walk(executor); });
///
/// Times are the steady clock's on a CPU. On a GPU they lie between events around plain launches, which were
/// enqueued behind a pause, so that no node waits for the host; a captured step has no such gaps either, but
/// runs independent nodes at once, and may be faster than the sum of its nodes.

#include <memory>
#include <string>
#include <vector>

#include "quern/executor.hpp"
#include "quern/timeline.hpp"

namespace quern {

struct NodeProfile {
  std::string node, layer, implementation;
  OpDesc desc;
  Phase phase = Phase::forward;
  std::vector<double> begin, seconds;  ///< a walk: since the walk's begin, and how long
};

class Profiler {
 public:
  /// The device must outlive the profiler.
  explicit Profiler(Device& device);
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  /// Walks the executor's plan with every node timed. All walks must be of one plan.
  void walk(Executor& executor);
  /// Walks it as training does, timed as a whole.
  void walk_whole(Executor& executor);

  const std::vector<NodeProfile>& nodes() const noexcept { return nodes_; }
  const std::vector<double>& whole() const noexcept { return whole_; }  ///< seconds of each walk_whole()

 private:
  class Marks;
  Device& device_;
  std::unique_ptr<Timeline> timeline_;
  std::vector<NodeProfile> nodes_;
  std::vector<double> whole_;
};

/// Middle of a sample; 0 of an empty one.
double median(std::vector<double> sample);
/// Distance between the first and the last decile, as a share of the median.
double spread(std::vector<double> sample);

/// The walks as Chrome's trace events, which Perfetto and chrome://tracing open: one process, a row of steps
/// and a row of nodes, with implementation, bytes and floating-point operations of each.
std::string chrome_trace(const std::vector<NodeProfile>& nodes, const std::string& title);

}  // namespace quern
