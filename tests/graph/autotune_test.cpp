#include "quern/autotune.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <limits>

#include "quern/error.hpp"
#include "tests/graph/harness.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr OpKey kRelu{OpKind::relu, Direction::forward};

TEST(TimingCache, KeepsTimesByDeviceBuildAndOperation) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "deep" / "times.json";
  TimingCache cache(file, "build 1");
  EXPECT_EQ(cache.find("gpu", "relu"), nullptr);
  cache.keep("gpu", "relu", {{"custom:a", 1e-6}, {"cudnn:b", 2e-6}});
  EXPECT_TRUE(cache.save());

  const TimingCache again(file, "build 1");
  ASSERT_NE(again.find("gpu", "relu"), nullptr);
  EXPECT_THAT(*again.find("gpu", "relu"), ElementsAre(Pair("cudnn:b", 2e-6), Pair("custom:a", 1e-6)));
  EXPECT_EQ(again.find("another gpu", "relu"), nullptr);
  EXPECT_EQ(again.find("gpu", "conv"), nullptr);
  EXPECT_EQ(TimingCache(file, "build 2").find("gpu", "relu"), nullptr);
}

TEST(TimingCache, TwoProgramsDoNotLoseEachOthersTimes) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "times.json";
  TimingCache first(file, "b"), second(file, "b"), other(file, "c");
  first.keep("cpu", "one", {{"x", 1}});
  second.keep("cpu", "two", {{"x", 2}});
  other.keep("cpu", "one", {{"x", 3}});
  EXPECT_TRUE(first.save() && second.save() && other.save());
  const TimingCache all(file, "b");
  ASSERT_NE(all.find("cpu", "one"), nullptr);
  EXPECT_NE(all.find("cpu", "two"), nullptr);
  EXPECT_EQ(all.find("cpu", "one")->at("x"), 1);
  EXPECT_EQ(TimingCache(file, "c").find("cpu", "one")->at("x"), 3);
}

TEST(TimingCache, DoesNotGrowWithEveryBuild) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "times.json";
  for (int build = 0; build < 40; ++build) {
    TimingCache cache(file, std::to_string(build));
    cache.keep("cpu", "one", {{"x", 1}});
    ASSERT_TRUE(cache.save());
    EXPECT_NE(TimingCache(file, std::to_string(build)).find("cpu", "one"), nullptr);
  }
  EXPECT_LT(std::filesystem::file_size(file), 2000u);
}

TEST(TimingCache, ADamagedFileCountsAsEmptyAndIsReplaced) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "times.json";
  const std::string good = R"({"format": 1, "devices": {"cpu": {"b": {"relu": {"x": 1.0}}}}})";
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), good.substr(0, 40),
        std::string(R"({"format": 2, "devices": {}})"), std::string(R"({"format": 1})"),
        std::string(R"({"format": "1", "devices": {}})"), std::string(R"({"format": 1, "devices": [1]})"),
        std::string(R"({"format": 1, "devices": {"cpu": {"b": {"relu": {"x": "fast"}}}}})"),
        std::string(R"({"format": 1, "devices": {"cpu": {"b": {"relu": {"x": -1.0}}}}})"),
        std::string(2000, '['), std::string("\xff\xfe\0\1", 4)}) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
    TimingCache cache(file, "b");
    EXPECT_EQ(cache.find("cpu", "relu"), nullptr) << text;
    cache.keep("cpu", "relu", {{"y", 2}});
    EXPECT_TRUE(cache.save());
    EXPECT_NE(TimingCache(file, "b").find("cpu", "relu"), nullptr) << text;
  }
  std::ofstream(file, std::ios::trunc) << good;
  EXPECT_NE(TimingCache(file, "b").find("cpu", "relu"), nullptr);
}

TEST(TimingCache, AFileThatCannotBeWrittenIsNoError) {
  TimingCache cache("/proc/no/such/folder/times.json", "b");
  cache.keep("cpu", "relu", {{"x", 1}});
  EXPECT_FALSE(cache.save());
  EXPECT_NE(cache.find("cpu", "relu"), nullptr);
  TimingCache in_memory;
  in_memory.keep("cpu", "relu", {{"x", 1}});
  EXPECT_TRUE(in_memory.save());
}

TEST(TimingCache, OfTheUserLiesWhereTheSpecificationSays) {
  const test::TemporaryFolder folder;
  setenv("XDG_CACHE_HOME", folder.path().c_str(), 1);
  EXPECT_EQ(TimingCache::of_user().file(), folder.path() / "quern" / "times.json");
  setenv("XDG_CACHE_HOME", "relative", 1);
  setenv("HOME", "/home/someone", 1);
  EXPECT_EQ(TimingCache::of_user().file(), "/home/someone/.cache/quern/times.json");
  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  EXPECT_TRUE(TimingCache::of_user().file().empty());
}

/// Counts how often it is prepared; `failure` makes preparing fail.
Implementation counted(const char* name, int& prepared, Refusal refusal = {}, const char* failure = nullptr) {
  return {name,
          Provider::user,
          kRelu,
          DeviceKind::cpu,
          [refusal](const OpDesc&, const DeviceInfo&) { return refusal; },
          [&prepared, failure](const OpDesc& desc, Device&) -> std::unique_ptr<Executable> {
            ++prepared;
            if (failure != nullptr) fail_device("{}", failure);
            return std::make_unique<FunctionExecutable>(desc, [](const OpDesc&, const RunArgs&) {});
          }};
}

class ChooseByTime : public ::testing::Test {
 protected:
  ChooseByTime() {
    registry_.add(counted("first", prepared_));
    registry_.add(counted("second", prepared_));
    registry_.add(counted("third", prepared_, "wants a moonless night"));
    add_reference(registry_);
    options_.forced = {parse_impl_choice("relu=auto")};
  }

  Plan plan() {
    GraphOptions graph;
    graph.fuse = false;
    graph.batch = 2;
    return make_plan(build_graph(load_model_spec("mlp"), graph), registry_, device_->info(), options_);
  }
  static const PlannedNode& relu(const Plan& plan) {
    return *std::ranges::find_if(plan.nodes, [](const auto& node) { return node.desc.op == kRelu; });
  }
  /// Times for every ReLU of the plan, in an otherwise empty cache.
  TimingCache known(const Plan& plan, double first, double second, double reference) {
    TimingCache cache;
    for (const PlannedNode& node : plan.nodes)
      if (node.desc.op == kRelu)
        cache.keep(timing_key(device_->info()), describe(node.desc),
                   {{"user:first", first}, {"user:second", second}, {"reference:naive", reference}});
    return cache;
  }
  std::string chosen(double first, double second, double reference) {
    Plan made = plan();
    TimingCache cache = known(made, first, second, reference);
    choose_by_time(made, registry_, *device_, options_, cache);
    return relu(made).implementation->full_name();
  }

  std::unique_ptr<Device> device_ = open_device("cpu", 1);
  Registry registry_;
  PlanOptions options_;
  int prepared_ = 0;
};

TEST_F(ChooseByTime, TakesTheFastestAndTheFirstOfEquals) {
  EXPECT_EQ(chosen(3e-6, 2e-6, 1e-6), "reference:naive");
  EXPECT_EQ(chosen(3e-6, 1e-6, 2e-6), "user:second");
  EXPECT_EQ(chosen(1e-6, 1e-6, 1e-6), "user:first");
  EXPECT_EQ(chosen(1.019e-6, 1e-6, 1e-6), "user:first");
  EXPECT_EQ(chosen(1.021e-6, 1e-6, 1e-6), "user:second");
  EXPECT_EQ(prepared_, 0);  // nothing was measured anew
}

TEST_F(ChooseByTime, MeasuresOnceWhatIsNotKnown) {
  Plan made = plan();
  TimingCache cache;
  choose_by_time(made, registry_, *device_, options_, cache);
  EXPECT_THAT(relu(made).times,
              ElementsAre(Pair("user:first", testing::Gt(0.0)), Pair("user:second", testing::Gt(0.0)),
                          Pair("reference:naive", testing::Gt(0.0))));
  EXPECT_THAT(format_plan(made), HasSubstr("timed: user:first"));
  const int measured = prepared_;
  EXPECT_GE(measured, 2);
  Plan next = plan();
  choose_by_time(next, registry_, *device_, options_, cache);
  EXPECT_EQ(prepared_, measured);
  EXPECT_EQ(relu(next).implementation, relu(made).implementation);
}

TEST_F(ChooseByTime, MeasuresAgainWhenACandidateIsNew) {
  Plan made = plan();
  TimingCache cache = known(made, 1, 2, 3);
  registry_.add(counted("newcomer", prepared_));
  made = plan();
  choose_by_time(made, registry_, *device_, options_, cache);
  EXPECT_GT(prepared_, 0);
}

TEST_F(ChooseByTime, PassesOverWhatCannotBePrepared) {
  registry_.add(counted("broken", prepared_, {}, "no memory left"));
  Plan made = plan();
  TimingCache cache;
  choose_by_time(made, registry_, *device_, options_, cache);
  EXPECT_THAT(format_plan(made), HasSubstr("refused: user:broken: no memory left"));
}

TEST_F(ChooseByTime, LeavesOtherOperationsAlone) {
  options_.forced = {parse_impl_choice("auto"), parse_impl_choice("relu.forward=user:second")};
  EXPECT_FALSE(is_auto(options_, kRelu));
  EXPECT_TRUE(is_auto(options_, {OpKind::dense, Direction::forward}));
  Plan made = plan();
  EXPECT_TRUE(leaves_to_auto(made, options_));
  TimingCache cache = known(made, 1, 2, 3);
  choose_by_time(made, registry_, *device_, options_, cache);
  EXPECT_EQ(relu(made).implementation->full_name(), "user:second");
  EXPECT_TRUE(relu(made).times.empty());
  options_.forced = {parse_impl_choice("reference")};
  EXPECT_FALSE(leaves_to_auto(plan(), options_));
}

// Every operation's operands can be made up: a training step of a model with all kinds of layers, measured
// twice over, so that nothing is left to the default.
TEST_F(ChooseByTime, MakesUpOperandsForEveryOperation) {
  Registry twice;
  add_reference(twice);
  for (const OpKey op : all_operations())
    for (Implementation copy : std::vector(twice.candidates(op).begin(), twice.candidates(op).end())) {
      copy.name = "again";
      twice.add(std::move(copy));
    }
  options_.forced = {parse_impl_choice("auto")};
  for (const bool fuse : {false, true}) {
    GraphOptions graph;
    graph.fuse = fuse;
    graph.batch = 2;
    Plan made = make_plan(build_graph(load_model_spec("seed-bn"), graph), twice, device_->info(), options_);
    TimingCache cache;
    choose_by_time(made, twice, *device_, options_, cache);
    for (const PlannedNode& node : made.nodes) EXPECT_EQ(node.times.size(), 2u) << describe(node.desc);
  }
}

}  // namespace
}  // namespace quern
