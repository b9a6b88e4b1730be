#pragma once

/// The executor: walks a plan on a device. Everything is allocated, chosen and prepared in the constructor
/// and in bind(); run() only runs.

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "quern/device.hpp"
#include "quern/plan.hpp"

namespace quern {

/// Addresses of a graph's persistent and external values by name (see graph.hpp, names).
using Bindings = std::map<std::string, void*, std::less<>>;

/// Sees every node of a walk; used by profiling and live checking. Calls are outside the hot path: an
/// executor without an observer does not test for one per node.
class NodeObserver {
 public:
  virtual ~NodeObserver() = default;
  virtual void before(const PlannedNode& node, const RunArgs& args) = 0;
  virtual void after(const PlannedNode& node, const RunArgs& args) = 0;
};

class Executor {
 public:
  /// Prepares every node. The registry must outlive the executor.
  Executor(Plan plan, Device& device);
  ~Executor();
  Executor(Executor&&) noexcept;

  const Plan& plan() const noexcept;
  /// Bytes that bind() needs: transients and the largest workspace.
  std::size_t scratch_bytes() const noexcept;
  /// Gives every value its address. `scratch` may be shared by executors that never run at the same time;
  /// without one the executor allocates its own. A binding that is missing is an input error.
  void bind(const Bindings& bindings, void* scratch = nullptr);

  /// One walk of the plan. Does not synchronise (on CPU and emulator the work is done on return). An error
  /// carries the node's name and implementation.
  void run();
  /// The same, calling the observer around every node.
  void run(NodeObserver& observer);

  /// Address of a value after bind(), views included.
  void* address(ValueId value) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
