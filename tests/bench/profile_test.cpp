#include "quern/profile.hpp"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "quern/error.hpp"
#include "quern/roofline.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using namespace test;

TEST(Profiler, TimesEveryNodeAndChangesNoBit) {
  const Split data = small_images(64);
  const char* recipe = R"({"epochs": 1, "batch_size": 16})";
  SmallRun plain(small_model(recipe), data);
  plain.train();
  SmallRun run(small_model(recipe), data);
  Profiler profiler(run.session.device());
  run.trainer.watch(1, [&](Executor& executor, std::int64_t step) {
    step % 2 == 0 ? profiler.walk(executor) : profiler.walk_whole(executor);
  });
  run.train();
  EXPECT_EQ(run.hash(), plain.hash());
  EXPECT_EQ(profiler.whole().size(), 2u);
  ASSERT_EQ(profiler.nodes().size(), run.trainer.plan().nodes.size());
  double end = 0;
  for (const NodeProfile& node : profiler.nodes()) {
    ASSERT_EQ(node.seconds.size(), 2u) << node.node;
    EXPECT_GE(node.begin[0], end) << node.node;
    EXPECT_GE(node.seconds[0], 0) << node.node;
    end = node.begin[0] + node.seconds[0];
  }

  // The trace is what Chrome's format asks for, and holds every node of every walk inside its step.
  const auto trace = nlohmann::json::parse(chrome_trace(profiler.nodes(), "small"));
  std::map<std::string, int> slices;
  double step_begin = -1, step_end = -1;
  for (const auto& event : trace["traceEvents"]) {
    ASSERT_TRUE(event["ph"] == "X" || event["ph"] == "M") << event;
    if (event["ph"] == "M") continue;
    const double begin = event["ts"], duration = event["dur"];
    EXPECT_GE(duration, 0);
    if (event["cat"] == "step") {
      EXPECT_GE(begin, step_end - 1e-6);
      step_begin = begin;
      step_end = begin + duration;
      continue;
    }
    EXPECT_GE(begin, step_begin - 1e-6);
    EXPECT_LE(begin + duration, step_end + 1e-6);
    EXPECT_TRUE(event["args"]["implementation"].is_string());
    EXPECT_GT(event["args"]["bytes"].get<double>(), 0);
    ++slices[event["name"]];
  }
  EXPECT_EQ(slices.size(), profiler.nodes().size());
  for (const auto& [name, count] : slices) EXPECT_EQ(count, 2) << name;
}

TEST(Roofline, IsMeasuredWhereThereIsSpeed) {
  const auto cpu = open_device("cpu", 1);
  const Roofline roofline = measure_roofline(*cpu);
  EXPECT_GT(roofline.bandwidth, 0);
  EXPECT_GT(roofline.fp32_flops, 0);
  EXPECT_FALSE(roofline.caches.empty());
  for (const Roofline::Cached& cached : roofline.caches) EXPECT_GT(cached.bandwidth, 0) << cached.footprint;
  const auto emulator = open_device("emu", 1);
  EXPECT_THROW(measure_roofline(*emulator), Error);
}

TEST(Roofline, TheSlowerOfBytesAndArithmeticIsTheFloor) {
  constexpr auto kMemory = Roofline::Operands::in_memory;
  Roofline roofline;
  roofline.bandwidth = 1e9;
  roofline.fp32_flops = 1e9;
  roofline.tf32_flops = 4e9;
  OpDesc desc;
  desc.op = {OpKind::dense, Direction::forward};
  desc.attrs = DenseAttrs{};
  desc.inputs = {{DType::f32, {100, 200}}, {DType::f32, {300, 200}}};
  desc.outputs = {{DType::f32, {100, 300}}};
  EXPECT_DOUBLE_EQ(roofline.floor_seconds(desc, kMemory), cost(desc).flops / 1e9);
  desc.precision = Precision::tf32;
  EXPECT_DOUBLE_EQ(roofline.floor_seconds(desc, kMemory), cost(desc).flops / 4e9);
  roofline.bandwidth = 1e6;
  EXPECT_DOUBLE_EQ(roofline.floor_seconds(desc, kMemory), cost(desc).bytes / 1e6);
}

TEST(Roofline, OperandsLeftInACacheHaveItsBandwidth) {
  constexpr auto kMemory = Roofline::Operands::in_memory, kLeft = Roofline::Operands::as_left_by_a_step;
  Roofline roofline;
  roofline.bandwidth = 10;
  roofline.caches = {{100, 50}, {1000, 40}, {10000, 9}};
  EXPECT_EQ(roofline.bandwidth_for(100, kMemory), 10);
  EXPECT_EQ(roofline.bandwidth_for(100, kLeft), 50);
  EXPECT_EQ(roofline.bandwidth_for(101, kLeft), 40);
  EXPECT_EQ(roofline.bandwidth_for(1001, kLeft), 10) << "a cache that was disturbed is no slower than memory";
  EXPECT_EQ(roofline.bandwidth_for(10001, kLeft), 10);
}

TEST(Statistics, MedianAndSpread) {
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(spread({2, 2, 2}), 0);
  EXPECT_EQ(spread({1, 2, 3}), 1);
}

}  // namespace
}  // namespace quern
