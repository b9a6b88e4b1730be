// The conformance table on every instruction set of this machine and on thread counts that divide nothing.
// (The whole table on the best one is tests/check's business.)

#include <gtest/gtest.h>

#include "quern/check.hpp"
#include "tests/onednn/harness.hpp"

namespace quern::testing {
namespace {

struct Setting {
  onednn::Isa isa;
  int threads, shard;
};
void PrintTo(const Setting& setting, std::ostream* out) {
  *out << "shard " << setting.shard;
}

class OnednnConformance : public ::testing::TestWithParam<Setting> {};

TEST_P(OnednnConformance, EveryImplementationAgreesWithTheReference) {
  const ScopedIsa isa(GetParam().isa);
  Registry registry;
  add_onednn(registry);
  add_reference(registry);
  CheckOptions options;
  options.implementation = "onednn";
  options.threads = GetParam().threads;
  options.shard_count = 24;
  options.shard_index = GetParam().shard;
  const CheckReport report = run_checks(registry, options);
  EXPECT_EQ(report.count(CheckStatus::fail), 0u) << format_report(report);
  EXPECT_GT(report.count(CheckStatus::pass), 100u);
}

std::vector<Setting> settings() {
  std::vector<Setting> list;
  int shard = 0;
  for (const onednn::Isa isa : machine_isas())
    for (const int threads : {1, 2, 3}) list.push_back({isa, threads, shard++});
  return list;
}

INSTANTIATE_TEST_SUITE_P(Isas, OnednnConformance, ::testing::ValuesIn(settings()), [](const auto& test) {
  return std::string(to_string(test.param.isa)) + "_threads" + std::to_string(test.param.threads);
});

}  // namespace
}  // namespace quern::testing
