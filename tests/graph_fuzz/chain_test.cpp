/// Chains: which nodes of the shipped models they take, and that nothing but time depends on them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quern/error.hpp"
#include "tests/graph_fuzz/graph_run.hpp"

namespace quern {
namespace {

using test::GraphRun;
using test::NamedTensor;
using test::Snapshot;
using test::Way;
using testing::ElementsAre;
using testing::IsEmpty;

Executor executor_of(const ModelSpec& model, bool training, Device& device, const Registry& registry,
                     const ChainOptions& chains = {}) {
  GraphOptions options;
  options.training = training;
  options.batch = model.recipe.batch_size;
  PlanOptions plan;
  plan.chains = chains;
  return {make_plan(build_graph(model, options), registry, device.info(), plan), device};
}

/// "conv1.forward, pool1.forward"
std::vector<std::string> chains_of(const ModelSpec& model, bool training, int threads,
                                   const ChainOptions& chains = {}) {
  const Registry registry = Registry::with_all_providers();
  const auto device = open_device("cpu", threads);
  const Executor executor = executor_of(model, training, *device, registry, chains);
  const Plan& plan = executor.plan();
  std::vector<std::string> list;
  for (const ChainInfo& chain : executor.chains()) {
    EXPECT_GE(chain.images, 1);
    EXPECT_GT(chain.bytes_kept, 0u);
    std::vector<std::string> names;
    for (std::size_t i = chain.first; i < chain.first + chain.size; ++i)
      names.push_back(plan.graph.nodes[static_cast<std::size_t>(plan.nodes[i].node)].name);
    list.push_back(fmt::format("{}", fmt::join(names, ", ")));
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
  // One large convolution a chain: how many fit depends on the machine's cache.
  const std::vector<std::string> chains = chains_of(load_model_spec("seed-bn"), false, 1);
  ASSERT_FALSE(chains.empty());
  EXPECT_THAT(chains[0], testing::StartsWith("conv1.forward, bn1.inference"));
}

TEST(Chains, AreNoneWhereImagesCannotBeDealtOutOrNobodyWantsThem) {
  EXPECT_THAT(chains_of(load_model_spec("seed"), true, 3), IsEmpty());  // 64 images
  EXPECT_THAT(chains_of(load_model_spec("seed"), true, 2, {false}), IsEmpty());
}

/// A small net whose images are cut: convolutions of every CPU implementation, pools, a residual block.
const char* const kNet = R"({"name": "cut", "input": {"shape": [12, 12, 1]}, "layers": [
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

std::vector<Snapshot> history(const test::RandomModel& model, const ChainOptions& chains, int threads) {
  const Registry registry = Registry::with_all_providers();
  const auto device = open_device("cpu", threads);
  const Way way{"onednn", "", true, true, true, chains};
  GraphRun run(model, way, registry, *device);
  std::vector<Snapshot> list{run.evaluate()};
  for (std::uint32_t step = 0; step < 3; ++step) list.push_back(run.step(step));
  return list;
}

TEST(Chains, ChangeNoBitWhereverTheCutsAre) {
  const test::RandomModel model{5, kNet, parse_model_spec(kNet, "test")};
  EXPECT_GE(chains_of(model.spec, true, 1).size(), 3u);
  for (const int threads : {1, 2, 3}) {
    const std::vector<Snapshot> whole = history(model, {false}, threads);
    for (const std::int64_t images : {0, 1, 2, 3, 5, 100}) {
      const std::vector<Snapshot> cut = history(model, {true, images}, threads);
      for (std::size_t s = 0; s < whole.size(); ++s)
        for (std::size_t t = 0; t < whole[s].size(); ++t) {
          const NamedTensor &a = whole[s][t], &b = cut[s][t];
          ASSERT_EQ(std::memcmp(a.values.data(), b.values.data(), a.values.size() * sizeof(float)), 0)
              << a.name << ", step " << s << ", " << images << " images at a time on " << threads;
        }
    }
  }
}

}  // namespace
}  // namespace quern
