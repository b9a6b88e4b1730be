#include <algorithm>
#include <limits>
#include <numeric>

#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/philox.hpp"

namespace quern {
namespace {

/// philox_u32 for elements that come in descending order: four of them share a block.
class Draws {
 public:
  Draws(std::uint64_t seed, RandomPurpose purpose, std::uint32_t step)
      : seed_(seed), purpose_(purpose), step_(step) {}

  /// Uniform in 0 .. bound-1, as documented at shuffled_order.
  std::uint32_t below(std::uint32_t bound, std::uint32_t element) {
    std::uint64_t product = std::uint64_t{first(element)} * bound;
    if (static_cast<std::uint32_t>(product) < bound) {  // only then can the low word be below 2^32 mod bound
      const std::uint32_t least = (0u - bound) % bound;
      for (std::uint32_t attempt = 1; static_cast<std::uint32_t>(product) < least; ++attempt)
        product = std::uint64_t{philox_u32(seed_, purpose_, attempt, step_, element)} * bound;
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

 private:
  std::uint32_t first(std::uint32_t element) {
    if (element / 4 != index_) {
      index_ = element / 4;
      block_ = philox_block(seed_, purpose_, 0, step_, index_);
    }
    return philox_lane(block_, element % 4);
  }

  std::uint64_t seed_;
  RandomPurpose purpose_;
  std::uint32_t step_;
  std::uint32_t index_ = std::numeric_limits<std::uint32_t>::max();
  Philox4 block_{};
};

void shuffle(std::vector<std::uint32_t>& values, Draws draws) {
  for (std::size_t i = values.size(); i-- > 1;) {
    const auto position = static_cast<std::uint32_t>(i);
    std::swap(values[i], values[draws.below(position + 1, position)]);
  }
}

}  // namespace

Partition split_train_validation(std::int64_t count, std::int64_t validation_count, std::uint64_t seed) {
  if (count > std::numeric_limits<std::uint32_t>::max())
    fail_input("the training set has {} images, the limit is {}", count,
               std::numeric_limits<std::uint32_t>::max());
  if (validation_count < 0 || validation_count >= count)
    fail_input("cannot hold {} of {} training images out for validation: choose 0 to {}", validation_count,
               count, std::max<std::int64_t>(count - 1, 0));
  std::vector<std::uint32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0u);
  if (validation_count > 0) shuffle(order, Draws(seed, RandomPurpose::split, 0));
  const auto middle = order.begin() + validation_count;
  Partition partition{{middle, order.end()}, {order.begin(), middle}};
  std::sort(partition.train.begin(), partition.train.end());
  std::sort(partition.validation.begin(), partition.validation.end());
  return partition;
}

std::vector<std::uint32_t> shuffled_order(std::span<const std::uint32_t> indices, std::uint64_t seed,
                                          std::uint32_t epoch) {
  QUERN_REQUIRE(indices.size() <= std::numeric_limits<std::uint32_t>::max(),
                "{} indices do not fit in 32 bits", indices.size());
  std::vector<std::uint32_t> order(indices.begin(), indices.end());
  shuffle(order, Draws(seed, RandomPurpose::shuffle, epoch));
  return order;
}

}  // namespace quern
