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

TEST(Parallel, RunsAllPartsInsideAnotherJobAndFromSeveralThreadsAtOnce) {
  std::atomic<int> calls{0};
  parallel(3, [&](int) { parallel(2, [&](int) { ++calls; }); });
  EXPECT_EQ(calls.load(), 6);
  calls = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int n = 0; n < 200; ++n)
        parallel(
            3, [&](int) { ++calls; }, [&](int) { ++calls; });
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(calls.load(), 4 * 200 * 6);
}

TEST(Parallel, SurvivesManySmallJobsOfChangingSize) {
  std::int64_t sum = 0;
  for (int n = 0; n < 3000; ++n) {
    const int parts = 1 + n % 4;
    std::vector<std::int64_t> values(static_cast<std::size_t>(parts));
    parallel(
        parts, [&](int part) { values[static_cast<std::size_t>(part)] = part; },
        [&](int part) {
          if (part == 0) sum += std::accumulate(values.begin(), values.end(), std::int64_t{0});
        });
  }
  EXPECT_EQ(sum, 3000 / 4 * (0 + 1 + 3 + 6));
}

TEST(Parallel, WorksInAForkedChild) {
  parallel(2, [](int) {});
  EXPECT_EXIT(
      {
        std::atomic<int> calls{0};
        parallel(
            2, [&](int) { ++calls; }, [&](int) { ++calls; });
        std::_Exit(calls.load() == 4 ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(Worthwhile, WakesAllThreadsOrNone) {
  EXPECT_EQ(worthwhile(8, 100), 1);
  EXPECT_EQ(worthwhile(8, 1e6), 8);
  EXPECT_EQ(worthwhile(1, 1e9), 1);
}

TEST(Pinning, IsOnRequestAndOnlyWhereEachThreadHasACore) {
  EXPECT_FALSE(should_pin(nullptr, 2, 4));
  EXPECT_FALSE(should_pin("0", 2, 4));
  EXPECT_TRUE(should_pin("1", 2, 4));
  EXPECT_TRUE(should_pin("1", 4, 4));
  EXPECT_FALSE(should_pin("1", 5, 4));
}

TEST(Cores, AreThoseOfTheAffinityMask) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  ASSERT_EQ(sched_getaffinity(0, sizeof mask, &mask), 0);
  EXPECT_EQ(usable_cores().size(), static_cast<std::size_t>(CPU_COUNT(&mask)));
  for (const int core : usable_cores()) EXPECT_TRUE(CPU_ISSET(core, &mask));
}

}  // namespace
}  // namespace quern::onednn
