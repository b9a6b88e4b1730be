// How many kernels a step launches: what the plan says, and what is launched.

#include <gtest/gtest.h>

#include "simt/simt.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using namespace test;

Plan plan_of(const ModelSpec& spec, const Registry& registry, const DeviceInfo& device,
             GraphOptions options) {
  options.few_launches = wants_few_launches(device, {});
  return make_plan(build_graph(spec, options), registry, device);
}

/// A GPU that is not here.
DeviceInfo hopper(DeviceKind kind) {
  DeviceInfo info;
  info.kind = kind;
  info.name = "an assumed GPU of sm_90";
  info.sm = 90;
  info.multiprocessors = 132;
  info.shared_memory_per_block = 227 * 1024;
  return info;
}

// The launch budget of a captured step. The emulator's table is that of a GPU: the same kernels, refusals and
// plans; where the build has CUDA, the GPU's own is asked, too.
TEST(Launches, AStepOfSeedBnIsWithinItsBudget) {
  constexpr int kBudget = 16;
  const Registry registry = Registry::with_all_providers();
  const ModelSpec spec = load_model_spec("seed-bn");
  for (const DeviceKind kind : {DeviceKind::emu, DeviceKind::cuda}) {
    const auto table = registry.candidates({OpKind::conv2d, Direction::forward});
    if (std::none_of(table.begin(), table.end(), [&](const Implementation& i) { return i.device == kind; }))
      continue;
    for (const Precision precision : {Precision::fp32, Precision::tf32})
      for (const std::int64_t batch : {32, 64, 1024}) {
        GraphOptions options;
        options.precision = precision;
        options.batch = batch;
        const Plan plan = plan_of(spec, registry, hopper(kind), options);
        EXPECT_LE(plan.nodes.size(), static_cast<std::size_t>(kBudget)) << format_plan(plan);
        EXPECT_LE(launches(plan), kBudget) << format_plan(plan);
        options.skip_nonfinite = true;  // which costs one
        EXPECT_EQ(launches(plan_of(spec, registry, hopper(kind), options)), launches(plan) + 1);
        options.fuse = false;
        EXPECT_GT(launches(plan_of(spec, registry, hopper(kind), options)), kBudget);
      }
  }
}

void expect_counted(const ModelSpec& model, const Split& data, bool fuse) {
  SessionOptions options;
  options.device = "emu";
  options.threads = 2;
  options.fuse = fuse;
  ModelSpec spec = model;
  spec.recipe.epochs = 1;
  spec.recipe.batch_size = static_cast<int>(data.count / 2);
  SmallRun run(spec, data, {}, options);
  GraphOptions graph;
  graph.batch = spec.recipe.batch_size;
  graph.dataset_images = graph.order_length = data.count;
  graph.fuse = fuse;
  const Plan plan = plan_of(spec, run.session.registry(), run.session.device().info(), graph);
  const std::uint64_t before = simt::launch_count();
  EXPECT_EQ(run.train(), StopReason::finished);
  EXPECT_EQ(simt::launch_count() - before, 2 * static_cast<std::uint64_t>(launches(plan)))
      << spec.name << "\n"
      << format_plan(plan);
}

TEST(Launches, ThePlanCountsWhatIsLaunched) {
  const Split data = small_images(8);
  for (const bool fuse : {true, false})
    for (const char* recipe : {"{}", R"({"clip_norm": 1.0, "ema_decay": 0.9, "optimizer": "sgd"})"})
      expect_counted(small_model(recipe), data, fuse);
  const ModelSpec grouped = parse_model_spec(
      R"({"name": "grouped", "input": {"shape": [8, 8, 1]}, "layers": [
          {"name": "c1", "op": "conv2d", "filters": 4, "kernel": 3, "padding": "same"},
          {"name": "c2", "op": "conv2d", "filters": 4, "kernel": 3, "groups": 2},
          {"name": "bn", "op": "batchnorm"},
          {"name": "pool", "op": "global_avgpool"},
          {"name": "logits", "op": "dense", "units": 4}]})",
      "grouped");
  expect_counted(grouped, data, true);
}

}  // namespace
}  // namespace quern
