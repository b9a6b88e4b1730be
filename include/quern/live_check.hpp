#pragma once

/// Live checking: a step of a real run held against the reference, node by node. Every node gets the same
/// inputs on both sides: they are copied from the device before it runs, the reference computes the node from
/// them on the CPU, and the outputs are compared within the tolerances of `quern check`, with magnitudes
/// taken from the data. Nothing on the device is changed: a run that is checked gives the bits it would have
/// given.
///
///   LiveCheck check(session.registry(), session.device());
///   trainer.watch(100, [&](Executor& executor, std::int64_t step) { check.run(executor, step); });

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quern/executor.hpp"

namespace quern {

/// An element of an output beside the reference's.
struct CheckedElement {
  std::int64_t step = 0;  ///< as given to run()
  std::string slot;       ///< "dw"
  std::string index;      ///< "[3,0,1,7]"; empty where the whole tensor is meant
  double got = 0, want = 0;
  double tolerance = 0;  ///< atol + rtol * |want|
};

/// What was found about one node with one implementation, over all steps checked.
struct NodeCheck {
  std::string node, implementation;
  std::int64_t runs = 0;
  std::int64_t elements = 0;     ///< of all its outputs in one run
  double worst = 0;              ///< largest |got - want| / (atol + rtol |want|); 1 is the limit
  double relative_error = 0;     ///< largest |got - want| / max |want| of an output
  double nmse = 0;               ///< largest sum (got - want)^2 / sum want^2 of an output
  CheckedElement worst_element;  ///< where `worst` was; no index if every element was equal
};

/// The first node that was out of tolerance.
struct NodeCheckFailure {
  std::string node, implementation;
  CheckedElement element;  ///< the worst, or the first that is not finite where the reference is
  std::int64_t count = 0, elements = 0;  ///< of the output: out of tolerance, and all
};

class LiveCheck {
 public:
  /// Both must outlive it. The reference computes on `device` where that is a CPU, else on a CPU device of
  /// its own.
  LiveCheck(const Registry& registry, Device& device);
  ~LiveCheck();
  LiveCheck(const LiveCheck&) = delete;
  LiveCheck& operator=(const LiveCheck&) = delete;

  /// One walk of a bound executor, every node checked after it ran. Throws a check error that names the first
  /// node out of tolerance, with its implementation and element; the nodes behind it have not run then.
  void run(Executor& executor, std::int64_t step);

  std::int64_t steps() const noexcept;                   ///< walks that were begun
  const std::vector<NodeCheck>& nodes() const noexcept;  ///< in the order of the plan
  const std::optional<NodeCheckFailure>& failure() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
