// The whole table for every provider that promises the CPU: `quern check --device cpu`, in pieces.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "quern/check.hpp"

namespace quern {
namespace {

struct Piece {
  Provider provider;
  OpKey op;
  int shard = 0, shards = 1;
};

/// Operations that multiply matrices take longest.
int shards_of(OpKey op) {
  if (op.kind == OpKind::conv2d) return 4;
  return op.kind == OpKind::dense || op.kind == OpKind::batchnorm ? 2 : 1;
}

std::vector<Piece> pieces() {
  std::vector<Piece> list;
  for (const Provider provider : required_providers(DeviceKind::cpu))
    for (const OpKey& op : all_operations())
      for (int shard = 0; shard < shards_of(op); ++shard)
        list.push_back({provider, op, shard, shards_of(op)});
  return list;
}

class Conformance : public ::testing::TestWithParam<Piece> {
 protected:
  CheckReport run(CheckMode mode) const {
    static const Registry registry = Registry::with_all_providers();
    CheckOptions options;
    options.op = to_string(GetParam().op);
    options.implementation = to_string(GetParam().provider);
    options.shard_index = GetParam().shard;
    options.shard_count = GetParam().shards;
    options.mode = mode;
    return run_checks(registry, options);
  }
};

TEST_P(Conformance, Table) {
  const CheckReport report = run(CheckMode::test);
  EXPECT_EQ(report.exit_status(), 0) << format_report(report);
  // Implementations may refuse, but every case is served by one of the provider's.
  std::set<std::string> served;
  for (const CheckResult& result : report.results)
    if (result.status == CheckStatus::pass) served.insert(result.case_name);
  EXPECT_EQ(served.size(), report.cases) << format_report(report);
}

INSTANTIATE_TEST_SUITE_P(Cpu, Conformance, ::testing::ValuesIn(pieces()), [](const auto& test) {
  const Piece& piece = test.param;
  return fmt::format("{}_{}_{}_{}of{}", to_string(piece.provider), to_string(piece.op.kind),
                     to_string(piece.op.direction), piece.shard, piece.shards);
});

}  // namespace
}  // namespace quern
