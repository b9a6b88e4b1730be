#include "check/cases/table.hpp"

namespace quern::check {

void add_add_cases(Table& table) {
  for (const bool relu : {false, true}) {
    const auto add = [&](const Shape& shape) {
      table.add(to_string(shape) + (relu ? "_relu" : ""), add_desc(shape, {relu}));
    };
    for (const Shape& shape : {Shape{2, 28, 28, 16}, Shape{2, 14, 14, 32}, Shape{3, 7, 7, 64}, Shape{5, 128},
                               Shape{1, 1, 1, 1}, Shape{2, 3, 5, 7}, Shape{11, 13}, Shape{2, 7, 3}})
      add(shape);
    for (const int n : {1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 511, 513, 1023, 1024, 1025, 4095, 4097, 65537})
      add({n});
    for (const int t : kTileSizes) add({3, t});
  }
}

}  // namespace quern::check
