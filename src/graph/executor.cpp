#include "quern/executor.hpp"

#include <algorithm>
#include <optional>

#include "graph/chain.hpp"
#include "graph/ranges.hpp"
#include "graph/replay.hpp"
#include "quern/error.hpp"

namespace quern {

namespace {

/// The ranges of one walk: step, phase, node.
class WalkRanges {
 public:
  explicit WalkRanges(const Plan& plan) {
    for (const PlannedNode& planned : plan.nodes) {
      const Node& node = plan.graph.nodes[static_cast<std::size_t>(planned.node)];
      const OpCost floor = cost(planned.desc);
      const bool computes = floor.flops > floor.bytes;
      nodes_.push_back({ranges::Name(fmt::format("{}[{}]", node.name, planned.implementation->full_name())),
                        node.phase, computes ? floor.flops : floor.bytes,
                        computes ? ranges::Unit::flops : ranges::Unit::bytes});
    }
  }

  const ranges::Name& step() const noexcept { return step_; }
  const ranges::Name& phase(std::size_t node) const noexcept {
    return phases_[static_cast<std::size_t>(nodes_[node].phase)];
  }
  bool starts_phase(std::size_t node) const noexcept {
    return node == 0 || nodes_[node].phase != nodes_[node - 1].phase;
  }
  ranges::Scope node(std::size_t node) const noexcept {
    const Entry& entry = nodes_[node];
    return ranges::Scope(entry.name, entry.payload, entry.unit);
  }

 private:
  struct Entry {
    ranges::Name name;
    Phase phase;
    double payload;
    ranges::Unit unit;
  };
  std::vector<Entry> nodes_;
  ranges::Name step_{"step"};
  ranges::Name phases_[5] = {ranges::Name(to_string(Phase::input)), ranges::Name(to_string(Phase::forward)),
                             ranges::Name(to_string(Phase::loss)), ranges::Name(to_string(Phase::backward)),
                             ranges::Name(to_string(Phase::update))};
};

}  // namespace

struct Executor::Impl {
  struct Step {
    std::vector<void*> in, out;
    RunArgs args;
  };

  Plan plan;
  Device& device;
  std::vector<std::unique_ptr<Executable>> executables;
  std::vector<Step> steps;
  std::vector<Chain> chains;
  std::vector<Chain*> chain_from;  // per node: the chain that starts there, or null
  std::vector<void*> roots;        // per value: address of a root
  std::size_t workspace_bytes = 0;
  Buffer own_scratch;
  std::uint64_t generation = 0;  // 0: not bound
  Replay replay;
  WalkRanges names;

  Impl(Plan p, Device& d) : plan(std::move(p)), device(d), replay(d), names(plan) {}

  void* address(ValueId id) const {
    const auto root = static_cast<std::size_t>(plan.graph.root(id));
    return static_cast<std::byte*>(roots[root]) + plan.graph.root_offset(id);
  }

  const Node& node(std::size_t index) const {
    return plan.graph.nodes[static_cast<std::size_t>(plan.nodes[index].node)];
  }

  void prepare_chains() {
    chain_from.assign(steps.size(), nullptr);
    const std::vector<ChainPlan> found = find_chains(plan, executables);
    chains.reserve(found.size());
    for (const ChainPlan& chain : found) {
      std::vector<std::size_t> bytes;
      for (std::size_t i = 0; i < chain.links.size(); ++i)
        bytes.push_back(executables[chain.first + i]->workspace_bytes());
      chains.emplace_back(plan, chain, bytes);
      chain_from[chain.first] = &chains.back();
      workspace_bytes = std::max(workspace_bytes, chains.back().workspace_bytes());
    }
  }

  void bind_chains(void* workspace) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (chain_from[i] == nullptr) continue;
      std::vector<const RunArgs*> whole;
      for (std::size_t link = 0; link < chain_from[i]->size(); ++link) whole.push_back(&steps[i + link].args);
      chain_from[i]->bind(whole, workspace);
    }
  }

  /// Adds which node and implementation an error came from.
  [[noreturn]] void rethrow(std::size_t index, const std::exception& error, const char* when) const {
    const auto* own = dynamic_cast<const Error*>(&error);
    throw Error(own ? own->kind() : ErrorKind::device,
                fmt::format("{}[{}] failed while {}: {}", node(index).name,
                            plan.nodes[index].implementation->full_name(), when, error.what()));
  }

  /// run(node) runs that node, or that one and those behind it, and returns how many.
  template <class Run>
  void walk(const Run& run) {
    QUERN_REQUIRE(generation > 0, "an executor must be bound before it runs");
    const ranges::Scope step(names.step());
    std::optional<ranges::Scope> phase;
    std::size_t index = 0;
    try {
      while (index < steps.size()) {
        if (names.starts_phase(index)) {
          phase.reset();
          phase.emplace(names.phase(index));
        }
        const ranges::Scope range = names.node(index);
        index += run(index);
      }
    } catch (const std::exception& error) {
      rethrow(index, error, "running");
    }
  }
};

Executor::Executor(Plan plan, Device& device) : impl_(std::make_unique<Impl>(std::move(plan), device)) {
  for (std::size_t i = 0; i < impl_->plan.nodes.size(); ++i) {
    const PlannedNode& node = impl_->plan.nodes[i];
    try {
      impl_->executables.push_back(node.implementation->prepare(node.desc, device));
    } catch (const std::exception& error) {
      impl_->rethrow(i, error, "being prepared");
    }
    impl_->workspace_bytes = std::max(impl_->workspace_bytes, impl_->executables.back()->workspace_bytes());
  }
  impl_->steps.resize(impl_->executables.size());
  impl_->prepare_chains();
}

Executor::~Executor() = default;
Executor::Executor(Executor&&) noexcept = default;

const Plan& Executor::plan() const noexcept {
  return impl_->plan;
}

std::size_t Executor::scratch_bytes() const noexcept {
  return impl_->plan.arena_bytes + impl_->workspace_bytes;  // the arena's size is a multiple of 256
}

void Executor::bind(const Bindings& bindings, void* scratch) {
  const Graph& graph = impl_->plan.graph;
  if (!scratch) {
    impl_->own_scratch = Buffer(impl_->device, scratch_bytes());
    scratch = impl_->own_scratch.data();
  }
  auto* arena = static_cast<std::byte*>(scratch);
  impl_->roots.assign(graph.values.size(), nullptr);
  for (std::size_t i = 0; i < graph.values.size(); ++i) {
    const Value& value = graph.values[i];
    if (value.alias_of != kNoValue) continue;
    if (value.storage == Storage::transient) {
      impl_->roots[i] = arena + impl_->plan.offsets[i];
    } else {
      const auto found = bindings.find(value.name);
      if (found == bindings.end()) fail_input("the graph needs '{}', but nothing is bound to it", value.name);
      impl_->roots[i] = found->second;
    }
  }
  for (std::size_t i = 0; i < impl_->steps.size(); ++i) {
    Impl::Step& step = impl_->steps[i];
    const Node& node = impl_->node(i);
    step.in.clear();
    step.out.clear();
    for (const ValueId id : node.inputs) step.in.push_back(impl_->address(id));
    for (const ValueId id : node.outputs) step.out.push_back(impl_->address(id));
    step.args = {step.in, step.out, arena + impl_->plan.arena_bytes, impl_->device.stream()};
  }
  impl_->bind_chains(arena + impl_->plan.arena_bytes);
  ++impl_->generation;
  impl_->replay.forget();
}

void Executor::run() {
  impl_->walk([this](std::size_t i) -> std::size_t {
    if (Chain* chain = impl_->chain_from[i]) {
      chain->run();
      return chain->size();
    }
    impl_->executables[i]->run(impl_->steps[i].args);
    return 1;
  });
}

void Executor::repeat(std::int64_t times) {
  impl_->replay.run(times, [this] { run(); });
}

void Executor::set_replay(const ReplayOptions& options) {
  impl_->replay.configure(options);
}

const ReplayCounts& Executor::replay_counts() const noexcept {
  return impl_->replay.counts();
}

std::vector<ChainInfo> Executor::chains() const {
  std::vector<ChainInfo> list;
  for (std::size_t i = 0; i < impl_->chain_from.size(); ++i) {
    const Chain* chain = impl_->chain_from[i];
    if (chain == nullptr) continue;
    std::vector<std::string> nodes;
    for (std::size_t link = 0; link < chain->size(); ++link) nodes.push_back(impl_->node(i + link).name);
    list.push_back({std::move(nodes), chain->images_at_a_time(), chain->bytes_kept()});
  }
  return list;
}

std::uint64_t Executor::generation() const noexcept {
  return impl_->generation;
}

void Executor::run(NodeObserver& observer) {
  impl_->walk([&](std::size_t i) -> std::size_t {
    observer.before(impl_->plan.nodes[i], impl_->steps[i].args);
    impl_->executables[i]->run(impl_->steps[i].args);
    observer.after(impl_->plan.nodes[i], impl_->steps[i].args);
    return 1;
  });
}

void* Executor::address(ValueId value) const {
  QUERN_REQUIRE(impl_->generation > 0, "an executor has no addresses before it is bound");
  return impl_->address(value);
}

}  // namespace quern
