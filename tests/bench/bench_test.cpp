#include "quern/bench.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "providers/reference/reference.hpp"
#include "quern/error.hpp"

namespace quern {
namespace {

using testing::HasSubstr;

/// The reference under another name, with one element of its result changed by `error`.
Implementation planted(const char* name, float error, Refusal refusal = {}) {
  Implementation implementation;
  implementation.name = name;
  implementation.provider = Provider::user;
  implementation.op = {OpKind::dense, Direction::forward};
  implementation.refusal = [refusal](const OpDesc&, const DeviceInfo&) { return refusal; };
  implementation.prepare = [error](const OpDesc& desc, Device&) {
    return std::make_unique<FunctionExecutable>(desc, [error](const OpDesc& d, const RunArgs& args) {
      reference::run<float>(d, args);
      static_cast<float*>(args.out[0])[3] += error;
    });
  };
  return implementation;
}

BenchOptions small() {
  BenchOptions options;
  options.device = "cpu";
  options.threads = 1;
  options.op = "dense.forward";
  options.batches = {2};
  options.samples = 3;
  return options;
}

TEST(Bench, TimesOnlyWhatIsRight) {
  Registry registry;
  add_reference(registry);
  registry.add(planted("right", 0));
  registry.add(planted("wrong", 1e-2f));
  registry.add(planted("shy", 0, "not today"));
  const BenchReport report = run_bench(registry, small());
  std::size_t seen = 0;
  for (const BenchResult& result : report.results) {
    EXPECT_NE(result.provider, Provider::reference);
    ++seen;
    if (result.implementation == "user:right") {
      EXPECT_EQ(result.status, BenchStatus::timed);
      EXPECT_GT(result.seconds, 0);
      EXPECT_EQ(result.samples, 3);
      EXPECT_GT(result.of_roofline, 0);
      EXPECT_FALSE(result.vs_library.has_value());  // there is none
    } else {
      EXPECT_EQ(result.status,
                result.implementation == "user:shy" ? BenchStatus::unsupported : BenchStatus::failed);
      EXPECT_EQ(result.seconds, 0);
      EXPECT_FALSE(result.reason.empty());
    }
  }
  EXPECT_EQ(seen % 3, 0u);
  EXPECT_GE(seen, 6u);
  EXPECT_EQ(report.exit_status(), 1);
  const auto json = nlohmann::json::parse(bench_json(report));
  for (const auto& row : json["results"]) EXPECT_EQ(row.contains("us"), row["status"] == "timed") << row;
  const std::string text = format_bench(report);
  EXPECT_THAT(text, HasSubstr("FAILED: "));
  EXPECT_THAT(text, HasSubstr("unsupported: not today"));
}

TEST(Bench, ComparesWithTheLibrary) {
  const Registry registry = Registry::with_all_providers();
  const BenchReport report = run_bench(registry, small());
  EXPECT_EQ(report.exit_status(), 0);
  for (const BenchResult& result : report.results) {
    ASSERT_TRUE(result.vs_library.has_value()) << result.implementation;
    EXPECT_LE(*result.vs_library, 1);  // of the library's own, the fastest is 1
  }
}

TEST(Bench, ShapesAreDistinctAndAlwaysTheSame) {
  for (const ShapeSet set : {ShapeSet::seed, ShapeSet::resnet, ShapeSet::sweep}) {
    const std::vector<BenchShape> shapes = bench_shapes(set, {3, 5}), again = bench_shapes(set, {3, 5});
    ASSERT_EQ(shapes.size(), again.size());
    std::set<std::string> names;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      EXPECT_NO_THROW(validate(shapes[i].desc)) << shapes[i].name;
      EXPECT_TRUE(names.insert(shapes[i].name).second) << shapes[i].name;
      EXPECT_EQ(shapes[i].name, again[i].name);
      EXPECT_EQ(shapes[i].desc, again[i].desc);
    }
    EXPECT_GT(shapes.size(), 20u) << to_string(set);
  }
}

TEST(Bench, RefusesWhatItCannotMeasure) {
  const Registry registry = Registry::with_all_providers();
  BenchOptions options = small();
  options.device = "emu";
  EXPECT_THROW(run_bench(registry, options), Error);
  EXPECT_THROW(bench_shapes(ShapeSet::seed, {0}), Error);
  EXPECT_THROW(parse_shape_set("sed"), Error);
}

}  // namespace
}  // namespace quern
