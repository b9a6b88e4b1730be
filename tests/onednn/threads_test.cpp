#include "providers/onednn/threads.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <numeric>
#include <thread>

namespace quern::onednn {
namespace {

TEST(Share, DealsEverythingOutInOrderAndEvenly) {
  for (const std::int64_t items : {0, 1, 2, 7, 64, 1001}) {
    for (const int parts : {1, 2, 3, 8}) {
      std::int64_t next = 0;
      for (int part = 0; part < parts; ++part) {
        const Range range = share(items, part, parts);
        EXPECT_EQ(range.begin, next);
        EXPECT_LE(std::abs(range.size() - items / parts), 1);
        next = range.end;
      }
      EXPECT_EQ(next, items);
    }
  }
}

TEST(Share, KeepsToGrains) {
  for (const std::int64_t items : {0, 1, 15, 16, 17, 1000}) {
    std::int64_t next = 0;
    for (int part = 0; part < 3; ++part) {
      const Range range = share(items, 16, part, 3);
      EXPECT_EQ(range.begin, next);
      EXPECT_TRUE(range.begin % 16 == 0 || range.begin == items);
      next = range.end;
    }
    EXPECT_EQ(next, items);
  }
}

TEST(Parallel, RunsEachPhaseForEachPartOnceAndWaitsBetween) {
  for (const int parts : {1, 2, 5}) {
    std::vector<int> first(static_cast<std::size_t>(parts)), second(static_cast<std::size_t>(parts));
    parallel(
        parts, [&](int part) { ++first[static_cast<std::size_t>(part)]; },
        [&](int part) {
          second[static_cast<std::size_t>(part)] += std::accumulate(first.begin(), first.end(), 0);
        });
    for (int part = 0; part < parts; ++part) {
      EXPECT_EQ(first[static_cast<std::size_t>(part)], 1);
      EXPECT_EQ(second[static_cast<std::size_t>(part)], parts);
    }
  }
}

TEST(Parallel, RunsAllPartsWhenTheRuntimeGrantsFewerThreads) {
  // Inside a parallel region a nested one gets a single thread.
  std::atomic<int> calls{0};
#pragma omp parallel num_threads(2)
  parallel(3, [&](int) { ++calls; });
  EXPECT_EQ(calls.load() % 3, 0);
  EXPECT_GE(calls.load(), 3);
}

TEST(Worthwhile, WakesAllThreadsOrNone) {
  EXPECT_EQ(worthwhile(8, 100), 1);
  EXPECT_EQ(worthwhile(8, 1e6), 8);
  EXPECT_EQ(worthwhile(1, 1e9), 1);
}

TEST(Pinning, FollowsThePolicy) {
  EXPECT_EQ(parse_pin_policy(nullptr), PinPolicy::full_pools);
  EXPECT_EQ(parse_pin_policy("0"), PinPolicy::never);
  EXPECT_EQ(parse_pin_policy("1"), PinPolicy::always);
  EXPECT_TRUE(should_pin(PinPolicy::full_pools, 4, 4));
  EXPECT_FALSE(should_pin(PinPolicy::full_pools, 2, 4));  // the scheduler has cores to spare
  EXPECT_FALSE(should_pin(PinPolicy::full_pools, 5, 4));  // threads must share
  EXPECT_TRUE(should_pin(PinPolicy::always, 2, 4));
  EXPECT_FALSE(should_pin(PinPolicy::always, 5, 4));
  EXPECT_FALSE(should_pin(PinPolicy::never, 4, 4));
}

TEST(Pinning, GivesEachThreadOfAFullPoolACoreOfItsOwn) {
  const auto& cores = usable_cores();
  if (cores.size() < 2 || std::getenv("QUERN_PIN") != nullptr) GTEST_SKIP() << "one core, or told otherwise";
  const int threads = static_cast<int>(cores.size());
  // In a thread of its own, so that the test program's main thread stays free.
  std::thread([&] {
    std::vector<int> core(cores.size(), -1), count(cores.size());
    parallel(threads, [&](int part) {
      cpu_set_t mask;
      CPU_ZERO(&mask);
      ASSERT_EQ(sched_getaffinity(0, sizeof mask, &mask), 0);
      count[static_cast<std::size_t>(part)] = CPU_COUNT(&mask);
      core[static_cast<std::size_t>(part)] = sched_getcpu();
    });
    for (std::size_t i = 0; i < cores.size(); ++i) {
      EXPECT_EQ(count[i], 1);
      EXPECT_EQ(core[i], cores[i]);
    }
    unpin_this_thread();
    cpu_set_t mask;
    CPU_ZERO(&mask);
    ASSERT_EQ(sched_getaffinity(0, sizeof mask, &mask), 0);
    EXPECT_EQ(CPU_COUNT(&mask), static_cast<int>(cores.size()));
  }).join();
}

}  // namespace
}  // namespace quern::onednn
