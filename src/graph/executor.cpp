#include "quern/executor.hpp"

#include <algorithm>
#include <optional>

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
    std::unique_ptr<Executable> executable;
    std::vector<void*> in, out;
    RunArgs args;
  };

  Plan plan;
  Device& device;
  std::vector<Step> steps;
  std::vector<void*> roots;  // per value: address of a root
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

  /// Adds which node and implementation an error came from.
  [[noreturn]] void rethrow(std::size_t index, const std::exception& error, const char* when) const {
    const auto* own = dynamic_cast<const Error*>(&error);
    throw Error(own ? own->kind() : ErrorKind::device,
                fmt::format("{}[{}] failed while {}: {}", node(index).name,
                            plan.nodes[index].implementation->full_name(), when, error.what()));
  }

  template <class Before, class After>
  void walk(const Before& before, const After& after) {
    QUERN_REQUIRE(generation > 0, "an executor must be bound before it runs");
    const ranges::Scope step(names.step());
    std::optional<ranges::Scope> phase;
    std::size_t index = 0;
    try {
      for (; index < steps.size(); ++index) {
        if (names.starts_phase(index)) {
          phase.reset();
          phase.emplace(names.phase(index));
        }
        const ranges::Scope range = names.node(index);
        before(index);
        steps[index].executable->run(steps[index].args);
        after(index);
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
      impl_->steps.push_back({node.implementation->prepare(node.desc, device), {}, {}, {}});
    } catch (const std::exception& error) {
      impl_->rethrow(i, error, "being prepared");
    }
    impl_->workspace_bytes =
        std::max(impl_->workspace_bytes, impl_->steps.back().executable->workspace_bytes());
  }
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
  ++impl_->generation;
  impl_->replay.forget();
}

void Executor::run() {
  impl_->walk([](std::size_t) {}, [](std::size_t) {});
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

std::uint64_t Executor::generation() const noexcept {
  return impl_->generation;
}

void Executor::run(NodeObserver& observer) {
  impl_->walk([&](std::size_t i) { observer.before(impl_->plan.nodes[i], impl_->steps[i].args); },
              [&](std::size_t i) { observer.after(impl_->plan.nodes[i], impl_->steps[i].args); });
}

void* Executor::address(ValueId value) const {
  QUERN_REQUIRE(impl_->generation > 0, "an executor has no addresses before it is bound");
  return impl_->address(value);
}

}  // namespace quern
