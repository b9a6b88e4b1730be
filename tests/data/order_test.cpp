#include <algorithm>
#include <map>
#include <numeric>

#include "quern/dataset.hpp"
#include "quern/philox.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

using Order = std::vector<std::uint32_t>;

Order first_numbers(std::uint32_t count) {
  Order order(count);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

/// The definition in dataset.hpp, word by word.
Order by_definition(Order order, std::uint64_t seed, RandomPurpose purpose, std::uint32_t epoch,
                    int* drawn_again = nullptr) {
  for (std::uint32_t i = static_cast<std::uint32_t>(order.size()); i-- > 1;) {
    const std::uint64_t bound = std::uint64_t{i} + 1;
    for (std::uint32_t attempt = 0;; ++attempt) {
      const std::uint64_t product = philox_u32(seed, purpose, attempt, epoch, i) * bound;
      if ((product & 0xFFFFFFFFu) < (std::uint64_t{1} << 32) % bound) {
        if (drawn_again != nullptr) ++*drawn_again;
        continue;
      }
      std::swap(order[i], order[product >> 32]);
      break;
    }
  }
  return order;
}

TEST(ShuffledOrder, FollowsItsDefinition) {
  for (const std::uint32_t count : {0u, 1u, 2u, 3u, 4u, 5u, 63u, 64u, 1000u}) {
    const Order indices = first_numbers(count);
    for (const std::uint32_t epoch : {0u, 1u, 77u})
      EXPECT_EQ(shuffled_order(indices, 42, epoch),
                by_definition(indices, 42, RandomPurpose::shuffle, epoch));
  }
  const Order some{900, 3, 17, 4000000000u, 3};
  EXPECT_EQ(shuffled_order(some, 7, 1), by_definition(some, 7, RandomPurpose::shuffle, 1));
}

TEST(ShuffledOrder, DrawsAgainWhereANumberWouldFavourSome) {
  const Order indices = first_numbers(60000);
  int drawn_again = 0;
  for (std::uint32_t epoch = 0; epoch < 20; ++epoch)
    ASSERT_EQ(shuffled_order(indices, 1, epoch),
              by_definition(indices, 1, RandomPurpose::shuffle, epoch, &drawn_again));
  EXPECT_GT(drawn_again, 0);  // about one in five epochs of this size has such a number
}

TEST(ShuffledOrder, IsTheSameEverywhere) {
  // These orders are part of the promise that a seed means the same run on every machine.
  EXPECT_THAT(shuffled_order(first_numbers(10), 1, 0), testing::ElementsAre(8, 9, 6, 4, 2, 5, 1, 3, 0, 7));
  EXPECT_THAT(shuffled_order(first_numbers(10), 1, 1), testing::ElementsAre(5, 0, 7, 2, 9, 1, 4, 6, 3, 8));
}

TEST(ShuffledOrder, IsAPermutationThatChangesWithSeedAndEpoch) {
  const Order indices = first_numbers(60000);
  const Order order = shuffled_order(indices, 1, 0);
  Order sorted = order;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, indices);
  EXPECT_EQ(shuffled_order(indices, 1, 0), order);
  for (const Order& other : {shuffled_order(indices, 1, 1), shuffled_order(indices, 2, 0), indices}) {
    int same = 0;
    for (std::size_t i = 0; i < order.size(); ++i) same += order[i] == other[i];
    EXPECT_LT(same, 12);  // expected 1, Poisson
  }
}

TEST(ShuffledOrder, EveryPermutationIsEquallyLikely) {
  std::map<Order, int> counts;
  constexpr int kDraws = 24000;
  for (std::uint32_t epoch = 0; epoch < kDraws; ++epoch) ++counts[shuffled_order(first_numbers(4), 5, epoch)];
  ASSERT_EQ(counts.size(), 24u);
  double chi_square = 0;
  for (const auto& [order, count] : counts) chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi_square, 49.7);  // 99.9th percentile with 23 degrees of freedom
}

TEST(SplitTrainValidation, CutsTheSetInTwo) {
  const Partition partition = split_train_validation(1000, 150, 3);
  EXPECT_EQ(partition.train.size(), 850u);
  EXPECT_EQ(partition.validation.size(), 150u);
  EXPECT_TRUE(std::is_sorted(partition.train.begin(), partition.train.end()));
  EXPECT_TRUE(std::is_sorted(partition.validation.begin(), partition.validation.end()));
  Order all = partition.train;
  all.insert(all.end(), partition.validation.begin(), partition.validation.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, first_numbers(1000));

  Order expected = by_definition(first_numbers(1000), 3, RandomPurpose::split, 0);
  expected.resize(150);
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(partition.validation, expected);
  EXPECT_EQ(split_train_validation(1000, 150, 3).validation, partition.validation);
  EXPECT_NE(split_train_validation(1000, 150, 4).validation, partition.validation);
}

TEST(SplitTrainValidation, WithoutValidationTrainsOnAll) {
  const Partition partition = split_train_validation(10, 0, 1);
  EXPECT_EQ(partition.train, first_numbers(10));
  EXPECT_TRUE(partition.validation.empty());
}

TEST(SplitTrainValidation, EveryImageIsEquallyLikely) {
  std::vector<int> held(10);
  for (std::uint64_t seed = 0; seed < 10000; ++seed)
    for (const std::uint32_t index : split_train_validation(10, 3, seed).validation) ++held[index];
  for (const int count : held) EXPECT_NEAR(count, 3000, 4 * 46);  // standard deviation 46
}

TEST(SplitTrainValidation, RefusesImpossibleCounts) {
  test::expect_error(ErrorKind::input, {"hold 10 of 10", "choose 0 to 9"},
                     [] { split_train_validation(10, 10, 1); });
  test::expect_error(ErrorKind::input, {"hold -1 of 10"}, [] { split_train_validation(10, -1, 1); });
  test::expect_error(ErrorKind::input, {"hold 0 of 0"}, [] { split_train_validation(0, 0, 1); });
  test::expect_error(ErrorKind::input, {"4294967296 images"},
                     [] { split_train_validation(std::int64_t{1} << 32, 1, 1); });
}

}  // namespace
}  // namespace quern
