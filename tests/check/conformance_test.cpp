// The whole table for every provider that promises the CPU, and for the kernels on the emulator: `quern check
// --device cpu` and `--device emu`, in pieces.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "quern/check.hpp"

namespace quern {
namespace {

struct Piece {
  Provider provider;
  OpKey op;
  int shard = 0, shards = 1;
  DeviceKind device = DeviceKind::cpu;
  Precision precision = Precision::fp32;
};

std::string name_of(const Piece& piece) {
  std::string name = fmt::format("{}_{}_{}", to_string(piece.provider), to_string(piece.op.kind),
                                 to_string(piece.op.direction));
  if (piece.precision != Precision::fp32) name += fmt::format("_{}", to_string(piece.precision));
  return piece.shards == 1 ? name : fmt::format("{}_{}of{}", name, piece.shard, piece.shards);
}

std::string piece_name(const ::testing::TestParamInfo<Piece>& test) {
  return name_of(test.param);
}

void PrintTo(const Piece& piece, std::ostream* out) {
  *out << name_of(piece);
}

/// Operations that multiply matrices take longest.
int shards_of(OpKey op) {
  if (op.kind == OpKind::conv2d) return 4;
  return op.kind == OpKind::dense || op.kind == OpKind::batchnorm ? 2 : 1;
}

std::vector<Piece> whole_table() {
  std::vector<Piece> list;
  for (const Provider provider : required_providers(DeviceKind::cpu))
    for (const OpKey& op : all_operations())
      for (int shard = 0; shard < shards_of(op); ++shard)
        list.push_back({provider, op, shard, shards_of(op)});
  return list;
}

/// tf32 differs from fp32 where matrices are multiplied.
std::vector<Piece> emulated_table() {
  std::vector<Piece> list;
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16})
    for (const OpKey& op : all_operations()) {
      if (precision == Precision::tf32 && op.kind != OpKind::conv2d && op.kind != OpKind::dense) continue;
      for (int shard = 0; shard < shards_of(op); ++shard)
        list.push_back({Provider::custom, op, shard, shards_of(op), DeviceKind::emu, precision});
    }
  return list;
}

std::vector<Piece> every_operation() {
  std::vector<Piece> list;
  for (const Provider provider : required_providers(DeviceKind::cpu))
    for (const OpKey& op : all_operations()) list.push_back({provider, op});
  return list;
}

std::vector<Piece> every_gradient() {
  std::vector<Piece> list = every_operation();
  std::erase_if(list, [](const Piece& piece) {
    const bool forward =
        piece.op.direction == Direction::forward || piece.op.direction == Direction::inference;
    return forward && piece.op.kind != OpKind::softmax_xent;  // which writes its gradient going forward
  });
  return list;
}

/// Where time is short (sanitizers), QUERN_TABLE_EVERY=n leaves the first case of every piece and each n-th
/// after it: of every operation, direction and precision some.
int table_stride() {
  const char* const every = std::getenv("QUERN_TABLE_EVERY");
  return every == nullptr ? 1 : std::max(1, std::atoi(every));
}

CheckOptions options_of(const Piece& piece) {
  CheckOptions options;
  options.device = to_string(piece.device);
  options.precision = piece.precision;
  options.op = to_string(piece.op);
  options.implementation = to_string(piece.provider);
  options.shard_index = piece.shard;
  options.shard_count = piece.shards * table_stride();
  // CTest runs the pieces side by side, and cases this small gain nothing from more.
  options.threads = 1;
  return options;
}

const Registry& registry() {
  static const Registry all = Registry::with_all_providers();
  return all;
}

bool merged(const CheckResult& result) {
  return result.reason.find("what other nodes were merged") != std::string::npos;
}

class Conformance : public ::testing::TestWithParam<Piece> {};

TEST_P(Conformance, Table) {
  const CheckReport report = run_checks(registry(), options_of(GetParam()));
  EXPECT_EQ(report.exit_status(), 0) << format_report(report);
  // Implementations may refuse, but every case is served by one of the provider's. What several nodes were
  // merged into is for those who count launches: oneDNN's graphs have no such node.
  std::set<std::string> served;
  for (const CheckResult& result : report.results)
    if (result.status == CheckStatus::pass || (GetParam().provider == Provider::onednn && merged(result)))
      served.insert(result.case_name);
  EXPECT_EQ(served.size(), report.cases) << format_report(report);
}

INSTANTIATE_TEST_SUITE_P(Cpu, Conformance, ::testing::ValuesIn(whole_table()), piece_name);
INSTANTIATE_TEST_SUITE_P(Emulator, Conformance, ::testing::ValuesIn(emulated_table()), piece_name);

class ConformanceOfThreads : public ::testing::TestWithParam<Piece> {};

// A sample of the table with work split three ways, evenly or not.
TEST_P(ConformanceOfThreads, Sample) {
  CheckOptions options = options_of(GetParam());
  options.threads = 3;
  options.shard_count = 16;
  const CheckReport report = run_checks(registry(), options);
  EXPECT_EQ(report.exit_status(), 0) << format_report(report);
}

INSTANTIATE_TEST_SUITE_P(Cpu, ConformanceOfThreads, ::testing::ValuesIn(every_operation()), piece_name);

class ConformanceOfGradients : public ::testing::TestWithParam<Piece> {};

TEST_P(ConformanceOfGradients, AreDerivatives) {
  CheckOptions options = options_of(GetParam());
  options.mode = CheckMode::grad;
  const CheckReport report = run_checks(registry(), options);
  EXPECT_EQ(report.exit_status(), 0) << format_report(report);
}

INSTANTIATE_TEST_SUITE_P(Cpu, ConformanceOfGradients, ::testing::ValuesIn(every_gradient()), piece_name);

}  // namespace
}  // namespace quern
