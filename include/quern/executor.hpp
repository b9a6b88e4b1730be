#pragma once

/// The executor: walks a plan on a device. Everything is allocated, chosen and prepared in the constructor
/// and in bind(); run() only runs.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
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

/// How repeated walks reach a device that can record them.
enum class GraphMode : std::uint8_t {
  automatic,  ///< loop where the device can, else unrolled
  loop,       ///< one graph that repeats a walk on the device; a device error where there is none
  unrolled,   ///< several walks a graph, launched again and again
  off,        ///< every node launched by the host
};
const char* to_string(GraphMode mode) noexcept;  ///< "auto", "loop", "unrolled", "off"
GraphMode parse_graph_mode(std::string_view text);

struct ReplayOptions {
  GraphMode mode = GraphMode::automatic;
  std::int64_t unroll = 16;  ///< walks a graph, where graphs do not loop
};

struct ReplayCounts {
  std::int64_t recordings = 0;
  std::int64_t plain = 0;     ///< walks launched node by node
  std::int64_t replayed = 0;  ///< walks launched as part of a graph
};

/// Nodes that run() takes a few images at a time through all of them (see graph/chain.hpp).
struct ChainInfo {
  std::vector<std::string> nodes;  ///< names
  std::int64_t images = 0;         ///< at a time
  std::size_t bytes_kept = 0;      ///< of values that never leave the cache
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
  /// `times` walks, one after the other, with the same results. A device that can record (Device::capture)
  /// walks once, records at the second walk, and replays from then on until bind() is called again.
  void repeat(std::int64_t times);
  void set_replay(const ReplayOptions& options);
  const ReplayCounts& replay_counts() const noexcept;
  std::vector<ChainInfo> chains() const;
  /// Goes up with every bind(): what was recorded before no longer holds.
  std::uint64_t generation() const noexcept;
  /// The same to the bit, every node as a whole, calling the observer around it. What a chain keeps for
  /// itself is only written here.
  void run(NodeObserver& observer);

  /// Address of a value after bind(), views included.
  void* address(ValueId value) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
