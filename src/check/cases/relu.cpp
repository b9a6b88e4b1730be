#include "check/cases/table.hpp"

namespace quern::check {

void add_relu_cases(Table& table) {
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    for (const Shape& shape :
         {Shape{2, 28, 28, 32}, Shape{2, 14, 14, 64}, Shape{3, 14, 14, 16}, Shape{5, 128}, Shape{7, 84},
          Shape{1, 1, 1, 1}, Shape{2, 3, 5, 7}, Shape{11, 13}, Shape{2, 7, 3}})
      table.add(fmt::format("{}", to_string(shape)), relu_desc(direction, shape));
    // Vector widths and block sizes, one less and one more.
    for (const int n : {1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 511, 513, 1023, 1024, 1025, 4095, 4097, 65537})
      table.add(fmt::format("{}", n), relu_desc(direction, {n}));
    for (const int t : kTileSizes) table.add(fmt::format("3x{}", t), relu_desc(direction, {3, t}));
  }
}

}  // namespace quern::check
