#include "providers/cudnn/graph_plan.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace quern::cudnn {

namespace {

/// Engine configurations asked for from each heuristic; it has the best first.
constexpr std::int64_t kMostConfigurations = 64;
/// Larger workspaces are for other trades of memory for time than training wants.
constexpr std::int64_t kMostWorkspace = std::int64_t{1} << 30;

bool has(std::span<const cudnnBackendNumericalNote_t> notes, cudnnBackendNumericalNote_t note) {
  return std::find(notes.begin(), notes.end(), note) != notes.end();
}

}  // namespace

Refusal excluded(const EngineRules& rules, std::span<const cudnnBackendNumericalNote_t> notes) {
  if (!rules.nondeterministic && has(notes, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC))
    return "is not deterministic (--allow-nondeterministic takes it)";
  if (!rules.tensor_cores && has(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE))
    return "computes on tensor cores in tf32";
  if (has(notes, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return "rounds its operands to half precision";
  if (has(notes, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return "adds up in reduced precision";
  const bool transforms = has(notes, CUDNN_NUMERICAL_NOTE_FFT) || has(notes, CUDNN_NUMERICAL_NOTE_WINOGRAD);
  if (transforms != rules.transforms) return transforms ? "transforms its operands" : "transforms nothing";
  return {};
}

Target described_target(const std::string& json) {
  auto properties = std::make_shared<Descriptor>(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  // The text with its final zero.
  properties
      ->set_all(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                std::span<const char>(json.c_str(), json.size() + 1))
      .finalize();
  return {nullptr, std::move(properties)};
}

GraphPlan::GraphPlan(const ConvGraph& graph, const Target& target)
    : operations_(graph),
      bound_(graph.bound()),
      graph_(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR),
      config_(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR),
      plan_(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
  // Before 9.8 a graph has to know its handle.
  if (target.handle != nullptr) graph_.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target.handle);
  graph_.set_all<cudnnBackendDescriptor_t>(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_.nodes()).finalize();
}

bool GraphPlan::try_engines(const Target& target, cudnnBackendHeurMode_t mode, const EngineRules& rules) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph_).set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  if (target.properties) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.properties);
  if (const auto status = heuristics.try_finalize(); status != CUDNN_STATUS_SUCCESS) {
    failures_.push_back(fmt::format("no heuristic for it ({})", library().cudnnGetErrorString(status)));
    return false;
  }
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < kMostConfigurations; ++i)
    raw.push_back(configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  std::int64_t count = 0;
  QUERN_CUDNN(cudnnBackendGetAttribute, heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
              CUDNN_TYPE_BACKEND_DESCRIPTOR, kMostConfigurations, &count, raw.data());
  configs.erase(configs.begin() + std::min(count, kMostConfigurations), configs.end());

  for (Descriptor& config : configs) {
    Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendDescriptor_t raw_engine = engine.get();
    QUERN_CUDNN(cudnnBackendGetAttribute, config.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &raw_engine);
    const auto index = engine.read<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
    const auto fail = [&](const std::string& why) {
      std::string text = fmt::format("engine {} {}", index, why);
      if (std::find(failures_.begin(), failures_.end(), text) == failures_.end())
        failures_.push_back(std::move(text));
    };
    const auto notes = engine.read_all<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                                                    CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
    if (const Refusal why = excluded(rules, notes)) {
      fail(*why);
      continue;
    }
    Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    if (target.handle != nullptr) plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target.handle);
    if (target.properties) plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.properties);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (const auto status = plan.try_finalize(); status != CUDNN_STATUS_SUCCESS) {
      fail(fmt::format("does not take it ({})", library().cudnnGetErrorString(status)));
      continue;
    }
    const auto bytes = plan.read<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
    if (bytes > kMostWorkspace) {
      fail(fmt::format("wants {} MiB of workspace", bytes >> 20));
      continue;
    }
    config_ = std::move(config);
    plan_ = std::move(plan);
    workspace_bytes_ = static_cast<std::size_t>(bytes);
    engine_ = index;
    return true;
  }
  return false;
}

std::shared_ptr<const GraphPlan> GraphPlan::build(const Target& target, const ConvGraph& graph,
                                                  const EngineRules& rules, std::string& failure) {
  const std::shared_ptr<GraphPlan> plan(new GraphPlan(graph, target));
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
    if (plan->try_engines(target, mode, rules)) return plan;
  failure = plan->failures_.empty()
                ? "cuDNN proposes no engine for it"
                : fmt::format("cuDNN has no engine for it: {}", fmt::join(plan->failures_, ", "));
  return nullptr;
}

void BoundPlan::run(cudnnHandle_t handle, std::span<void* const> addresses, void* workspace) {
  if (!pack_ || workspace != workspace_ || !std::ranges::equal(addresses, addresses_)) {
    // A finalised pack cannot be changed, so new addresses need a new one.
    std::vector<std::int64_t> ids;
    for (const Operand id : plan_->bound()) ids.push_back(static_cast<std::int64_t>(id));
    pack_.reset();
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set_all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
        .set_addresses(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, addresses)
        .set_addresses(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, {&workspace, 1})
        .finalize();
    pack_ = std::move(pack);
    addresses_.assign(addresses.begin(), addresses.end());
    workspace_ = workspace;
  }
  QUERN_CUDNN(cudnnBackendExecute, handle, plan_->get(), pack_->get());
}

}  // namespace quern::cudnn
