// Launches, orders, stacks: what the scheduler promises.

#include "tests/simt/scheduler.cuh"

#include <algorithm>
#include <numeric>

#include "tests/kernels/targets.hpp"

namespace quern {
namespace {

using kernels::LaunchShapeArgs;
using simt::FaultKind;
using simt::KernelFault;
using simt::Order;
using test::DeviceArray;
using test::Target;

class Scheduler : public test::TargetTest {
 protected:
  bool emulated() const { return GetParam() != Target::cuda; }
};

TEST_P(Scheduler, RefusesWhatTheHardwareRefuses) {
  // On a GPU the refusal is CUDA's own; either way it is a device error that names the kernel.
  const LaunchShapeArgs bad[] = {
      {{0, 1, 1}, {32, 1, 1}, 0},    {{1, 1, 1}, {0, 1, 1}, 0},        {{1, 1, 1}, {1025, 1, 1}, 0},
      {{1, 1, 1}, {32, 33, 1}, 0},   {{1, 1, 1}, {1, 1, 65}, 0},       {{1, 65536, 1}, {1, 1, 1}, 0},
      {{1, 1, 65536}, {1, 1, 1}, 0}, {{1, 1, 1}, {32, 1, 1}, 1 << 20},
  };
  for (const LaunchShapeArgs& args : bad) {
    try {
      QUERN_RUN(launch_of_shape, args);
      ADD_FAILURE() << "launched a grid of " << args.grid[0] << " with blocks of " << args.block[0];
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::device);
      EXPECT_NE(std::string(error.what()).find("idle_kernel"), std::string::npos) << error.what();
    }
  }
  EXPECT_NO_THROW(QUERN_RUN(launch_of_shape, {{2, 3, 2}, {16, 8, 8}, 100 * 1024}));
}

TEST_P(Scheduler, ReportsTheFirstFaultyBlockWhateverTheWorkers) {
  if (!emulated()) GTEST_SKIP() << "for the emulator";
  for (const int workers : {1, 2, 5}) {
    simt::Config config = simt::config();
    config.workers = workers;
    const simt::ScopedConfig scope(config);
    try {
      QUERN_RUN(fault_from_block, {7, 40});
      ADD_FAILURE() << "no fault";
    } catch (const KernelFault& fault) {
      EXPECT_EQ(fault.faults().at(0).block.value().x, 7u);
    }
    EXPECT_NO_THROW(QUERN_RUN(fault_from_block, {40, 40}));
  }
}

TEST_P(Scheduler, StacksAreAlignedAndKept) {
  for (const int threads : {1, 31, 32, 33, 256, 1024}) {
    const auto n = static_cast<std::size_t>(threads);
    const DeviceArray<int> misaligned(device(), n);
    const DeviceArray<float> sums(device(), n);
    QUERN_RUN(stacks_and_switches, {threads, misaligned.data(), sums.data()});
    const auto bad = misaligned.host();
    const auto sum = sums.host();
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_EQ(bad[i], 0) << "thread " << i << " of " << threads;
      ASSERT_EQ(sum[i], 16.0f * static_cast<float>(i) + 120.0f + 5.0f);
    }
  }
}

TEST_P(Scheduler, OrdersAreWhatTheySay) {
  if (!emulated()) GTEST_SKIP() << "for the emulator";
  constexpr int kBlocks = 6, kThreads = 40, kAll = kBlocks * kThreads;
  const auto arrivals = [&](Order blocks, Order threads, std::uint64_t seed) {
    simt::Config config = simt::config();
    config.workers = 1;
    config.block_order = blocks;
    config.thread_order = threads;
    config.seed = seed;
    const simt::ScopedConfig scope(config);
    const DeviceArray<int> arrival(device(), kAll);
    const DeviceArray<unsigned> next(device(), std::vector<unsigned>{0});
    QUERN_RUN(record_order, {arrival.data(), next.data(), kBlocks, kThreads});
    return arrival.host();
  };
  std::vector<int> ascending(kAll);
  std::iota(ascending.begin(), ascending.end(), 0);
  EXPECT_EQ(arrivals(Order::forward, Order::forward, 0), ascending);
  const std::vector<int> descending(ascending.rbegin(), ascending.rend());
  EXPECT_EQ(arrivals(Order::reverse, Order::reverse, 0), descending);

  const auto shuffled = arrivals(Order::random, Order::random, 1);
  EXPECT_NE(shuffled, ascending);
  EXPECT_NE(shuffled, arrivals(Order::random, Order::random, 2));
  EXPECT_EQ(shuffled, arrivals(Order::random, Order::random, 1));
  EXPECT_TRUE(std::is_permutation(shuffled.begin(), shuffled.end(), ascending.begin()));
}

TEST_P(Scheduler, ManyBlocksOnManyWorkers) {
  if (emulated()) {
    simt::Config config = simt::config();
    config.workers = 4;
    simt::set_config(config);
  }
  constexpr int kElements = 100003;
  const DeviceArray<float> out(device(), kElements);
  for (int repeat = 0; repeat < 20; ++repeat) QUERN_RUN(fill_with_index, {out.data(), kElements});
  const auto values = out.host();
  for (std::size_t i = 0; i < kElements; ++i) ASSERT_EQ(values[i], static_cast<float>(i));
}

TEST_P(Scheduler, AnEmptyArrayNeedsNoThreads) {
  // A grid of zero blocks is refused everywhere: launchers return before they launch.
  const DeviceArray<float> out(device(), 1);
  EXPECT_THROW(QUERN_RUN(fill_with_index, {out.data(), 0}), Error);
}

QUERN_FOR_ALL_TARGETS(Scheduler);

}  // namespace
}  // namespace quern
