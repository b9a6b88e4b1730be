/// Chains (graph/chain.hpp): which nodes of the shipped models they take, and that nothing but time depends
/// on them.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/graph/harness.hpp"

namespace quern {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

Registry cpu_registry() {
  Registry registry;
  add_onednn(registry);
  add_reference(registry);
  return registry;
}

PlanOptions with(const ChainOptions& chains) {
  PlanOptions options;
  options.chains = chains;
  return options;
}

GraphOptions graph_options(const ModelSpec& model, bool training) {
  GraphOptions options;
  options.training = training;
  options.batch = model.recipe.batch_size;
  return options;
}

/// "conv1.forward, pool1.forward"
std::vector<std::string> chains_of(const ModelSpec& model, bool training, int threads,
                                   const ChainOptions& chains = {}) {
  const Registry registry = cpu_registry();
  const auto device = open_device("cpu", threads);
  const Executor executor(
      make_plan(build_graph(model, graph_options(model, training)), registry, device->info(), with(chains)),
      *device);
  std::vector<std::string> list;
  for (const ChainInfo& chain : executor.chains()) {
    EXPECT_GE(chain.images, 1);
    EXPECT_GT(chain.bytes_kept, 0u);
    list.push_back(fmt::format("{}", fmt::join(chain.nodes, ", ")));
  }
  return list;
}

TEST(Chains, TakeTheLargeValuesOfTheShippedModels) {
  for (const int threads : {1, 2, 4}) {
    EXPECT_THAT(chains_of(load_model_spec("seed"), true, threads),
                ElementsAre("conv1.forward, pool1.forward", "conv2.forward, pool2.forward",
                            "pool1.backward, conv1.backward_weights"));
    EXPECT_THAT(chains_of(load_model_spec("seed-bn"), true, threads),
                ElementsAre("bn1.backward, conv1.backward_weights"));
  }
}

TEST(Chains, EvaluationNeedsNoValueAfterwards) {
  // How far the first one reaches depends on the machine's cache.
  const std::vector<std::string> chains = chains_of(load_model_spec("seed-bn"), false, 1);
  ASSERT_FALSE(chains.empty());
  EXPECT_THAT(chains[0], StartsWith("conv1.forward, bn1.inference"));
}

TEST(Chains, AreNoneWhereImagesCannotBeDealtOutOrNobodyWantsThem) {
  EXPECT_THAT(chains_of(load_model_spec("seed"), true, 3), IsEmpty());  // 64 images
  EXPECT_THAT(chains_of(load_model_spec("seed"), true, 2, {false}), IsEmpty());
}

/// What every kind of node that can be chained does: convolutions of several implementations, pools, a
/// residual block.
constexpr const char* kNet = R"({"name": "net", "input": {"shape": [12, 12, 1]}, "layers": [
  {"name": "c1", "op": "conv2d", "filters": 16, "kernel": 3, "padding": "same"}, {"name": "r1", "op": "relu"},
  {"name": "p1", "op": "maxpool2d", "kernel": 2},
  {"name": "c2", "op": "conv2d", "filters": 32, "kernel": 3, "padding": "same"}, {"name": "r2", "op": "relu"},
  {"name": "p2", "op": "maxpool2d", "kernel": 3, "stride": 1},
  {"name": "c3", "op": "conv2d", "filters": 32, "kernel": 3, "padding": "same", "bias": false},
  {"name": "b3", "op": "batchnorm"},
  {"name": "sum", "op": "add", "inputs": ["b3", "p2"]}, {"name": "r3", "op": "relu"},
  {"name": "c4", "op": "conv2d", "filters": 24, "kernel": 2, "stride": 2}, {"name": "b4", "op": "batchnorm"},
  {"name": "r4", "op": "relu"}, {"name": "gap", "op": "global_avgpool"},
  {"name": "out", "op": "dense", "units": 10}],
  "recipe": {"batch_size": 12, "optimizer": "momentum"}})";

/// Everything that is left after a walk for evaluation and three steps of training, each bit of it.
std::vector<std::vector<float>> outcome(const ModelSpec& model, const ChainOptions& chains, int threads) {
  const Registry registry = cpu_registry();
  std::vector<std::vector<float>> all;
  const auto keep = [&](std::span<const float> values) { all.emplace_back(values.begin(), values.end()); };
  const auto keep_outputs = [&](test::Harness& run) {
    for (const char* name : {names::kLogits, names::kLoss}) {
      const Graph& graph = run.plan().graph;
      const ValueId value = graph.find(name);
      keep({static_cast<const float*>(run.executor().address(value)),
            static_cast<std::size_t>(graph.value(value).desc.elements())});
    }
  };
  test::Harness evaluation(model, graph_options(model, false), registry, with(chains), 7, threads);
  evaluation.run();
  keep_outputs(evaluation);
  test::Harness training(model, graph_options(model, true), registry, with(chains), 7, threads);
  for (std::uint32_t step = 0; step < 3; ++step) {
    training.run(step);
    keep_outputs(training);
  }
  for (const char* name : {names::kWeights, names::kGradients, names::kSlot1}) keep(training.floats(name));
  return all;
}

TEST(Chains, ChangeNoBitWhereverTheCutsAre) {
  const ModelSpec model = parse_model_spec(kNet, "test");
  EXPECT_GE(chains_of(model, true, 1).size(), 3u);
  for (const int threads : {1, 2, 3}) {
    const auto whole = outcome(model, {false}, threads);
    for (const std::int64_t images : {0, 1, 2, 3, 5, 100}) {
      const auto cut = outcome(model, {true, images}, threads);
      ASSERT_EQ(cut.size(), whole.size());
      for (std::size_t i = 0; i < whole.size(); ++i)
        EXPECT_EQ(std::memcmp(whole[i].data(), cut[i].data(), whole[i].size() * sizeof(float)), 0)
            << "tensor " << i << ", " << images << " images at a time on " << threads;
    }
  }
}

}  // namespace
}  // namespace quern
