#include "quern/plan.hpp"

#include <algorithm>

#include "graph/arena.hpp"
#include "graph/liveness.hpp"
#include "quern/error.hpp"
#include "quern/suggest.hpp"

namespace quern {
namespace {

constexpr std::string_view kAuto = "auto";

bool matches_op(const ImplChoice& choice, OpKey op) {
  return choice.op.empty() || choice.op == to_string(op.kind) || choice.op == to_string(op);
}

bool matches_impl(const ImplChoice& choice, const Implementation& implementation) {
  return choice.impl == to_string(implementation.provider) || choice.impl == implementation.full_name();
}

/// The choice in force for an operation: the last one given that names it.
const ImplChoice* forced_choice(const PlanOptions& options, OpKey op) {
  const ImplChoice* found = nullptr;
  for (const ImplChoice& choice : options.forced)
    if (matches_op(choice, op)) found = &choice;
  return found;
}

/// A forced name that no implementation of any matching operation carries is a mistake, not a refusal.
void check_forced_names(const PlanOptions& options, const Registry& registry) {
  for (const ImplChoice& choice : options.forced) {
    if (choice.impl == kAuto) continue;
    std::vector<std::string> known;
    bool found = false;
    for (const OpKey op : all_operations()) {
      if (!matches_op(choice, op)) continue;
      for (const Implementation& implementation : registry.candidates(op)) {
        found |= matches_impl(choice, implementation);
        for (const std::string& name :
             {std::string(to_string(implementation.provider)), implementation.full_name()})
          if (std::find(known.begin(), known.end(), name) == known.end()) known.push_back(name);
      }
    }
    if (!found)
      fail_input("--impl: no implementation is named '{}' for {}: choose one of {}{}", choice.impl,
                 choice.op.empty() ? "any operation" : choice.op, fmt::join(known, ", "),
                 did_you_mean(choice.impl, known));
  }
}

PlannedNode choose(const Graph& graph, NodeId id, const Registry& registry, const DeviceInfo& device,
                   const PlanOptions& options) {
  const Node& node = graph.nodes[static_cast<std::size_t>(id)];
  PlannedNode planned{id, graph.desc(node), nullptr, {}, {}};
  const ImplChoice* forced = forced_choice(options, node.op);
  if (forced && forced->impl == kAuto) forced = nullptr;
  // Whether the candidate may be taken; what it refuses is kept.
  const auto take = [&](const Implementation& candidate) {
    if (const Refusal refusal = candidate.refusal(planned.desc, device)) {
      planned.refusals.emplace_back(candidate.full_name(), *refusal);
      return false;
    }
    planned.implementation = &candidate;
    if (candidate.launches) planned.launches = candidate.launches(planned.desc, device);
    return true;
  };
  // A choice for everything is a preference: what it does not serve keeps the default order.
  const bool preferred = forced && forced->op.empty();
  for (const bool matching : {true, false}) {
    if (!matching && !preferred) break;
    for (const Implementation& candidate : registry.candidates(node.op)) {
      if (candidate.device != device.kind) continue;
      if (forced && matches_impl(*forced, candidate) != matching) continue;
      if (take(candidate)) return planned;
    }
  }
  std::vector<std::string> reasons;
  for (const auto& [name, reason] : planned.refusals) reasons.push_back(name + ": " + reason);
  fail_input("node '{}': nothing{} on {} serves {}{}", node.name,
             forced && !preferred ? " allowed by --impl " + forced->impl : "", to_string(device.kind),
             describe(planned.desc),
             reasons.empty() ? std::string(" (this build has no candidate)")
                             : fmt::format(" ({})", fmt::join(reasons, "; ")));
}

}  // namespace

ImplChoice parse_impl_choice(std::string_view text) {
  const auto equals = text.find('=');
  ImplChoice choice;
  if (equals == std::string_view::npos) {
    choice.impl = std::string(text);
  } else {
    choice.op = std::string(text.substr(0, equals));
    choice.impl = std::string(text.substr(equals + 1));
    std::vector<std::string> known;
    for (const OpKey op : all_operations())
      for (const std::string& name : {std::string(to_string(op.kind)), to_string(op)})
        if (std::find(known.begin(), known.end(), name) == known.end()) known.push_back(name);
    if (std::find(known.begin(), known.end(), choice.op) == known.end())
      fail_input("--impl {}: '{}' is no operation{}", text, choice.op, did_you_mean(choice.op, known));
  }
  if (choice.impl.empty()) fail_input("--impl {}: give OPERATION=PROVIDER[:NAME] or PROVIDER", text);
  return choice;
}

bool is_auto(const PlanOptions& options, OpKey op) {
  const ImplChoice* choice = forced_choice(options, op);
  return choice != nullptr && choice->impl == kAuto;
}

bool wants_few_launches(const DeviceInfo& device, const std::vector<ImplChoice>& forced) {
  if (device.kind == DeviceKind::cpu) return false;
  return std::none_of(forced.begin(), forced.end(), [](const ImplChoice& choice) {
    return choice.op.ends_with(".backward_data") || choice.op.ends_with(".backward_weights");
  });
}

int launches(const Plan& plan) {
  int sum = 0;
  for (const PlannedNode& node : plan.nodes) sum += node.launches;
  return sum;
}

Plan make_plan(Graph graph, const Registry& registry, const DeviceInfo& device, const PlanOptions& options) {
  check_forced_names(options, registry);
  Plan plan{std::move(graph), device, {}, {}, 0, 0, options.chains};
  for (std::size_t i = 0; i < plan.graph.nodes.size(); ++i)
    plan.nodes.push_back(choose(plan.graph, static_cast<NodeId>(i), registry, device, options));

  const auto lives = liveness(plan.graph);
  std::vector<ArenaRequest> requests;
  std::vector<ValueId> owners;
  for (std::size_t i = 0; i < plan.graph.values.size(); ++i) {
    const Value& value = plan.graph.values[i];
    if (value.storage != Storage::transient || value.alias_of != kNoValue || lives[i].first < 0) continue;
    requests.push_back({value.desc.bytes(), lives[i]});
    owners.push_back(static_cast<ValueId>(i));
    plan.transient_bytes += value.desc.bytes();
  }
  const ArenaLayout layout = plan_arena(requests, options.reuse_memory);
  plan.arena_bytes = layout.bytes;
  plan.offsets.assign(plan.graph.values.size(), 0);
  for (std::size_t i = 0; i < owners.size(); ++i)
    plan.offsets[static_cast<std::size_t>(owners[i])] = layout.offsets[i];
  return plan;
}

std::string format_plan(const Plan& plan) {
  const auto attributes = [](const PlannedNode& node) {
    std::vector<std::string> fused;
    std::visit(
        [&](const auto& attrs) {
          if constexpr (requires { attrs.relu; })
            if (attrs.relu) fused.emplace_back("relu");
          if constexpr (requires { attrs.stats; })
            if (attrs.stats) fused.emplace_back("stats");
          if constexpr (requires { attrs.pool; })
            if (attrs.pool) fused.emplace_back("pool");
          if constexpr (requires { attrs.mask; })
            if (attrs.mask) fused.emplace_back("mask");
          if constexpr (requires { attrs.metrics; })
            if (attrs.metrics) fused.emplace_back("metrics");
          if constexpr (requires { attrs.gather; })
            if (attrs.gather) fused.emplace_back("gather");
        },
        node.desc.attrs);
    return fmt::format("{}", fmt::join(fused, "+"));
  };
  std::size_t name_width = 4, impl_width = 14, fused_width = 5;
  for (const PlannedNode& node : plan.nodes) {
    name_width = std::max(name_width, plan.graph.nodes[static_cast<std::size_t>(node.node)].name.size());
    impl_width = std::max(impl_width, node.implementation->full_name().size());
    fused_width = std::max(fused_width, attributes(node).size());
  }
  std::string text =
      fmt::format("{:>3}  {:<{}}  {:<{}}  {:<{}}  {:>9}  {:>9}  shapes\n", "#", "node", name_width,
                  "implementation", impl_width, "fused", fused_width, "MFLOP", "KiB");
  double flops = 0, bytes = 0;
  for (const PlannedNode& node : plan.nodes) {
    const OpCost node_cost = cost(node.desc);
    flops += node_cost.flops;
    bytes += node_cost.bytes;
    std::vector<std::string> in, out;
    for (const TensorDesc& desc : node.desc.inputs) in.push_back(to_string(desc.shape));
    for (const TensorDesc& desc : node.desc.outputs) out.push_back(to_string(desc.shape));
    text +=
        fmt::format("{:>3}  {:<{}}  {:<{}}  {:<{}}  {:>9.3f}  {:>9.1f}  {} -> {}\n", node.node,
                    plan.graph.nodes[static_cast<std::size_t>(node.node)].name, name_width,
                    node.implementation->full_name(), impl_width, attributes(node), fused_width,
                    node_cost.flops / 1e6, node_cost.bytes / 1024, fmt::join(in, " "), fmt::join(out, " "));
    for (const auto& [name, reason] : node.refusals)
      text += fmt::format("     refused: {}: {}\n", name, reason);
    if (!node.times.empty()) {
      std::vector<std::string> times;
      for (const auto& [name, seconds] : node.times)
        times.push_back(fmt::format("{} {:.1f} us", name, seconds * 1e6));
      text += fmt::format("     timed: {}\n", fmt::join(times, ", "));
    }
  }
  text += fmt::format(
      "{} nodes on {} ({}), {}{:.1f} MFLOP, {:.1f} MiB moved at least a step\n"
      "arena {:.2f} MiB ({:.2f} MiB without reuse), workspace is added when the plan is prepared\n",
      plan.nodes.size(), to_string(plan.device.kind), plan.device.name,
      plan.device.kind == DeviceKind::cpu ? std::string() : fmt::format("{} launches; ", launches(plan)),
      flops / 1e6, bytes / (1 << 20), static_cast<double>(plan.arena_bytes) / (1 << 20),
      static_cast<double>(plan.transient_bytes) / (1 << 20));
  return text;
}

}  // namespace quern
