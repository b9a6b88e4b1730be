#include "check/cases/table.hpp"

namespace quern::check {
namespace {

struct Sizes {
  int n, c, k;
};

int flag_combinations(Direction direction) {
  return direction == Direction::forward ? 8 : direction == Direction::backward ? 4 : 2;
}

DenseAttrs attributes(Direction direction, int flags) {
  DenseAttrs attrs;
  if (direction == Direction::forward) {
    attrs.bias = (flags & 1) != 0;
    attrs.relu = (flags & 2) != 0;
    attrs.stats = (flags & 4) != 0;
  } else if (direction == Direction::backward_data) {
    attrs.mask = (flags & 1) != 0;
  } else {
    attrs.bias = (flags & 1) != 0;
    attrs.mask = direction == Direction::backward && (flags & 2) != 0;
  }
  return attrs;
}

std::string base_name(const Sizes& sizes) {
  return fmt::format("n{}_c{}_k{}", sizes.n, sizes.c, sizes.k);
}

void add_one(Table& table, Direction direction, const Sizes& sizes, int flags) {
  const DenseAttrs attrs = attributes(direction, flags);
  table.add(fmt::format("{}{}{}{}{}", base_name(sizes), attrs.bias ? "_bias" : "", attrs.relu ? "_relu" : "",
                        attrs.stats ? "_stats" : "", attrs.mask ? "_mask" : ""),
            dense_desc(direction, sizes.n, sizes.c, sizes.k, attrs));
}

void add_all_flags(Table& table, Direction direction, const Sizes& sizes) {
  for (int flags = 0; flags < flag_combinations(direction); ++flags) add_one(table, direction, sizes, flags);
}

void add_some_flags(Table& table, Direction direction, const Sizes& sizes) {
  const auto choice = static_cast<int>((hash_name(base_name(sizes)) >> 17) % 8);
  add_one(table, direction, sizes, choice % flag_combinations(direction));
}

}  // namespace

void add_dense_cases(Table& table) {
  // seed and seed-bn (same and valid convolutions), mlp, lenet5, the residual net; then edges.
  constexpr Sizes kModels[] = {{2, 3136, 128}, {1, 1600, 128}, {3, 128, 10},  {2, 784, 256},
                               {5, 784, 128},  {3, 256, 128},  {3, 400, 120}, {7, 120, 84},
                               {7, 84, 10},    {8, 64, 10},    {64, 128, 10}, {64, 64, 10}};
  constexpr Sizes kEdges[] = {{1, 1, 1},    {1, 1, 9},    {1, 9, 1},   {9, 1, 1},    {1, 7, 11},
                              {7, 1, 11},   {11, 7, 1},   {2, 3, 5},   {13, 17, 19}, {4, 4, 4},
                              {5, 1024, 3}, {3, 5, 1024}, {257, 3, 5}, {8, 16, 32},  {16, 8, 16}};
  constexpr int kBatches[] = {1, 2, 3, 8, 15, 16, 17, 31, 33, 64, 65, 127, 129};
  constexpr int kInputs[] = {1, 3, 8, 16, 31, 33, 64, 65, 127, 129};
  constexpr int kOutputs[] = {1, 2, 10, 15, 16, 17, 32, 33, 63, 65, 128, 129};
  for (const Direction direction :
       {Direction::forward, Direction::backward_data, Direction::backward_weights, Direction::backward}) {
    for (const Sizes& sizes : kModels) add_all_flags(table, direction, sizes);
    for (const Sizes& sizes : kEdges) add_all_flags(table, direction, sizes);
    for (const int n : kBatches)
      for (const int c : kInputs)
        for (const int k : kOutputs) {
          const Sizes sizes{n, c, k};
          const unsigned thin = direction == Direction::backward ? 40 : 10;
          if (hash_name(base_name(sizes)) % thin == 0) add_some_flags(table, direction, sizes);
        }
    for (const int t : kTileSizes) {
      add_some_flags(table, direction, {t, 20, 12});
      add_some_flags(table, direction, {12, t, 20});
      add_some_flags(table, direction, {20, 12, t});
      add_some_flags(table, direction, {t, t, 9});
    }
  }
}

}  // namespace quern::check
