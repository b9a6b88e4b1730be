// Planted faults: each is found, by its kind and on its line, and the launch after it works. And what is
// right passes.

#include <fstream>

#include "tests/kernels/targets.hpp"
#include "tests/simt/faulty.cuh"

#if defined(__SANITIZE_ADDRESS__)
// A faulty kernel's threads are left where they stand: what their frames own is never destroyed.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:quern::simt::Block::fiber_main";
}
#endif

namespace quern {
namespace {

using kernels::Planted;
using simt::FaultKind;
using simt::KernelFault;
using test::DeviceArray;
using test::Target;

/// The number of the line in faulty.cu that carries "FAULT: name"; 0 if none does.
int line_of(const std::string& name) {
  std::ifstream file(QUERN_SOURCE_DIR "/tests/simt/faulty.cu");
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    const auto at = line.find("FAULT: " + name);
    if (at != std::string::npos && at + 7 + name.size() == line.size()) return number;
  }
  return 0;
}

/// A compiler cache may hand the compiler paths that start at the build folder.
std::string from_the_root(std::string text) {
  for (auto at = text.find("../"); at != std::string::npos; at = text.find("../")) text.erase(at, 3);
  return text;
}

struct Case {
  Planted fault;
  const char* name;
  FaultKind kind;
  bool plain;       ///< found without the race detector
  bool plain_line;  ///< and its line known
};
#define CASE(name, kind, plain, plain_line)                  \
  Case {                                                     \
    Planted::name, #name, FaultKind::kind, plain, plain_line \
  }

const Case kCases[] = {
    CASE(missing_syncthreads, race, false, false),
    CASE(missing_syncwarp, race, false, false),
    CASE(shuffle_as_fence, race, false, false),
    CASE(partial_syncwarp_too_small, race, false, false),
    CASE(write_after_read, race, false, false),
    CASE(half_words_overlap, race, false, false),
    CASE(arrive_without_sync, race, false, false),
    CASE(divergent_barrier, divergent_barrier, true, true),
    CASE(barrier_in_one_branch, divergent_barrier, true, true),
    CASE(early_exit, early_exit, true, true),
    CASE(divergent_warp_collective, divergent_barrier, true, true),
    CASE(mask_lacks_caller, collective, true, true),
    CASE(shuffle_from_ended_lane, collective, true, true),
    CASE(mma_with_part_of_a_warp, collective, true, true),
    CASE(partial_warp_at_named_barrier, collective, true, true),
    CASE(static_shared_overrun, shared_overrun, true, false),
    CASE(dynamic_shared_overrun, shared_overrun, true, false),
    CASE(between_dynamic_pieces, shared_overrun, true, false),
    CASE(global_overrun, global_overrun, true, false),
    CASE(global_underrun, global_overrun, true, false),
    CASE(write_to_constant, global_overrun, false, false),
    CASE(uninitialised_shared, uninitialised, false, false),
    CASE(uninitialised_global, uninitialised, false, false),
    CASE(fragment_off_by_one, uninitialised, false, false),
    CASE(ldmatrix_outside, shared_overrun, true, true),
    CASE(ldmatrix_misaligned, misaligned, true, true),
    CASE(cp_async_outside, shared_overrun, true, true),
    CASE(missing_cp_async_wait, uninitialised, false, false),
    CASE(wait_for_wrong_group, uninitialised, false, false),
    CASE(misaligned_vector, misaligned, true, true),
    CASE(pieces_exceed_dynamic, shared_overrun, true, true),
    CASE(two_blocks_write, race, false, false),
    CASE(block_reads_other, race, false, false),
    CASE(last_block_without_fence, race, false, false),
    CASE(last_block_without_second_fence, race, false, false),
    CASE(last_block_without_barrier, race, false, false),
    CASE(fences_before_the_barrier, race, false, false),
    CASE(write_after_release, race, false, false),
    CASE(touched_before_join, race, false, false),
};

class Faults : public test::TargetTest {
 protected:
  struct Arrays {
    explicit Arrays(Device& device)
        : in(device, values()), out(device, 256), counter(device, std::vector<unsigned>{0}) {}
    static std::vector<float> values() {
      std::vector<float> v(256);
      for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i);
      return v;
    }
    DeviceArray<float> in, out;
    DeviceArray<unsigned> counter;
  };

  std::vector<simt::Fault> faults_of(Planted fault) {
    const Arrays arrays(device());
    try {
      QUERN_RUN(planted, {fault, arrays.in.data(), arrays.out.data(), arrays.counter.data()});
    } catch (const KernelFault& error) {
      EXPECT_EQ(error.kind(), ErrorKind::device);
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
      return error.faults();
    }
    return {};
  }
};

TEST_P(Faults, EachIsFoundOnItsLine) {
  if (GetParam() == Target::cuda) GTEST_SKIP() << "for the emulator";
  const bool races = GetParam() == Target::race;
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
#if defined(__SANITIZE_ADDRESS__)
    // AddressSanitizer ends the program at an access that the emulator finds when the block is over.
    if (c.plain && !c.plain_line) continue;
#endif
    const auto faults = faults_of(c.fault);
    if (!races && !c.plain) {
      EXPECT_TRUE(faults.empty()) << to_string(faults[0]);
      continue;
    }
    ASSERT_FALSE(faults.empty()) << "not found";
    const simt::Fault& first = faults.front();
    EXPECT_EQ(first.kind, c.kind) << to_string(first);
    EXPECT_EQ(first.kernel, std::string(c.name) + "_kernel");
    if (races || c.plain_line) {
      ASSERT_NE(line_of(c.name), 0);
      // A race has two lines, of which the later in time is reported first.
      const std::string other = fmt::format("tests/simt/faulty.cu:{} ", line_of(c.name));
      EXPECT_TRUE(first.line == line_of(c.name) || first.message.find(other) != std::string::npos)
          << to_string(first);
      EXPECT_EQ(from_the_root(first.file), "tests/simt/faulty.cu") << to_string(first);
      EXPECT_TRUE(first.block.has_value());
      EXPECT_TRUE(first.thread.has_value());
    }
    // Nothing is left behind: a good kernel runs.
    const Arrays arrays(device());
    kernels::CorrectArgs good{kernels::Correct::tree_reduction, arrays.in.data(), arrays.out.data()};
    ASSERT_NO_THROW(QUERN_RUN(correct, good));
    EXPECT_EQ(arrays.out.host()[0], 255.0f * 128.0f);
  }
}

TEST_P(Faults, CrashesBecomeReports) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer reports crashes itself";
#endif
  if (GetParam() == Target::cuda) GTEST_SKIP() << "for the emulator";
  auto faults = faults_of(Planted::global_far_away);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].kind, FaultKind::global_overrun) << to_string(faults[0]);
  EXPECT_EQ(faults[0].line, line_of("global_far_away")) << to_string(faults[0]);
  EXPECT_EQ(faults[0].thread.value().x, 17u) << to_string(faults[0]);

  faults = faults_of(Planted::stack_overflow);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].kind, FaultKind::stack_overflow) << to_string(faults[0]);

  simt::Config config = simt::config();
  config.stall_seconds = 0.05;
  const simt::ScopedConfig scope(config);
  faults = faults_of(Planted::endless_loop);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].kind, FaultKind::no_progress) << to_string(faults[0]);
  EXPECT_EQ(faults[0].thread.value().x, 40u) << to_string(faults[0]);
  EXPECT_TRUE(faults_of(Planted::missing_syncthreads).empty() || GetParam() == Target::race);
}

// The limits are those of a GPU, where such a launch fails; nothing else would tell before one is at hand.
TEST_P(Faults, SharedMemoryIsLimited) {
  if (GetParam() == Target::cuda) GTEST_SKIP() << "for the emulator";
  auto faults = faults_of(Planted::too_much_static_shared);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].kind, FaultKind::launch) << to_string(faults[0]);
  EXPECT_NE(faults[0].message.find("'second' of 16388 bytes after 32768 bytes"), std::string::npos)
      << to_string(faults[0]);
  // One float more than 48 KiB, in both kinds together.
  faults = faults_of(Planted::shared_beyond_what_was_asked);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].kind, FaultKind::launch) << to_string(faults[0]);
  EXPECT_NE(faults[0].message.find("20480 bytes of static and 28676 of dynamic shared memory"),
            std::string::npos)
      << to_string(faults[0]);
  EXPECT_TRUE(kernels::asks_for_shared(48 * 1024));
  EXPECT_FALSE(kernels::asks_for_shared(32 * 1024));
}

// A kernel that may start early and never waits would let the next one start too early as well.
TEST_P(Faults, ProgrammaticLaunchesMustJoinTheStreamInEveryThread) {
  if (GetParam() == Target::cuda) GTEST_SKIP() << "for the emulator";
  const auto faults = faults_of(Planted::ended_without_join);
  ASSERT_FALSE(faults.empty());
  EXPECT_EQ(faults[0].kind, FaultKind::race) << to_string(faults[0]);
  EXPECT_EQ(faults[0].kernel, "ended_without_join_kernel");
  EXPECT_EQ(faults[0].thread.value().x, 200u) << to_string(faults[0]);
  EXPECT_NE(faults[0].message.find("join_stream()"), std::string::npos) << to_string(faults[0]);
}

TEST_P(Faults, MessagesSayWhoAndWhere) {
  if (GetParam() != Target::race) GTEST_SKIP() << "for the race detector";
  const auto faults = faults_of(Planted::missing_syncthreads);
  ASSERT_FALSE(faults.empty());
  const int line = line_of("missing_syncthreads");
  EXPECT_EQ(
      from_the_root(to_string(faults[0])),
      fmt::format(
          "kernel missing_syncthreads_kernel, block (0,0,0), thread (128,0,0), tests/simt/faulty.cu:{}: "
          "race: writes 'tile' in shared memory at byte 512, which thread (127,0,0) reads at "
          "tests/simt/faulty.cu:{} without a barrier between",
          line - 1, line));
  EXPECT_NE(to_string(faults_of(Planted::missing_cp_async_wait).at(0)).find("has not been waited for"),
            std::string::npos);
}

TEST_P(Faults, BlocksBeforeTheFaultyOneHaveRun) {
  if (GetParam() == Target::cuda) GTEST_SKIP() << "for the emulator";
  const auto faults = faults_of(Planted::early_exit);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_NE(faults[0].message.find("56 of 256 threads ended"), std::string::npos) << faults[0].message;
  EXPECT_NE(faults[0].message.find("threads 200..255 ended"), std::string::npos) << faults[0].message;
}

class CorrectPatterns : public Faults {
 protected:
  std::vector<float> outputs() {
    using kernels::Correct;
    std::vector<float> all;
    constexpr int kBlocks = 41;
    std::vector<float> in(256 * kBlocks);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = 0.1f * static_cast<float>(i * 37 % 101);
    for (const Correct pattern :
         {Correct::tree_reduction, Correct::warp_synchronous, Correct::partial_syncwarps,
          Correct::neighbouring_halves, Correct::double_buffer, Correct::producer_consumer,
          Correct::last_block_adds_up, Correct::last_of_pairs_adds_up, Correct::last_warp_adds_up,
          Correct::exit_without_barrier, Correct::in_place, Correct::reused_buffer}) {
      const DeviceArray<float> x(device(), in), out(device(), std::vector<float>(256, 0.0f)),
          partial(device(), in.size());
      const DeviceArray<unsigned> counters(device(), std::vector<unsigned>(1 + (kBlocks + 1) / 2));
      kernels::CorrectArgs args{pattern, x.data(), out.data(), partial.data(), counters.data(), kBlocks};
      EXPECT_NO_THROW(QUERN_RUN(correct, args)) << static_cast<int>(pattern);
      const auto y = out.host();
      all.insert(all.end(), y.begin(), y.end());
    }
    return all;
  }
};

TEST_P(CorrectPatterns, PassUnderEverySchedule) {
  const std::vector<float> expected = outputs();
  if (GetParam() == Target::cuda) return;
  using simt::Order;
  simt::Config config = simt::config();
  for (const Order blocks : {Order::forward, Order::reverse, Order::random}) {
    for (const Order threads : {Order::forward, Order::reverse, Order::random}) {
      for (const int workers : {1, 3}) {
        config.block_order = blocks;
        config.thread_order = threads;
        config.workers = workers;
        ++config.seed;
        const simt::ScopedConfig scope(config);
        const auto bits = [](const std::vector<float>& v) {
          std::vector<std::uint32_t> b(v.size());
          std::memcpy(b.data(), v.data(), v.size() * sizeof(float));
          return b;
        };
        ASSERT_EQ(bits(outputs()), bits(expected));
      }
    }
  }
}

QUERN_FOR_ALL_TARGETS(Faults);
QUERN_FOR_ALL_TARGETS(CorrectPatterns);

}  // namespace
}  // namespace quern
