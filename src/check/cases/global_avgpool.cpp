#include "check/cases/table.hpp"

namespace quern::check {

void add_global_avgpool_cases(Table& table) {
  constexpr int kBatches[] = {1, 2, 3, 7};
  constexpr std::array<std::array<int, 2>, 9> kImages = {
      {{1, 1}, {7, 7}, {1, 8}, {8, 1}, {4, 4}, {5, 3}, {13, 11}, {14, 14}, {3, 17}}};
  constexpr int kChannels[] = {1, 3, 16, 31, 32, 33, 64, 65, 127, 129};
  for (const Direction direction : {Direction::forward, Direction::backward})
    for (const bool mask : {false, true}) {
      if (mask && direction == Direction::forward) continue;
      for (const int n : kBatches)
        for (const auto& [h, w] : kImages)
          for (const int c : kChannels) {
            const Shape x{n, h, w, c};
            const std::string name = image_name(x) + (mask ? "_mask" : "");
            table.add_thinned(4, name, global_avgpool_desc(direction, x, {mask}));
          }
      // The residual net's head, and the smallest tensor there is.
      for (const Shape& x : {Shape{4, 7, 7, 64}, Shape{1, 1, 1, 1}, Shape{64, 1, 1, 2}})
        table.add(image_name(x) + (mask ? "_mask" : ""), global_avgpool_desc(direction, x, {mask}));
    }
}

}  // namespace quern::check
