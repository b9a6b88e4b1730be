#include "check/cases/table.hpp"

namespace quern::check {

void add_dropout_cases(Table& table) {
  constexpr float kProbabilities[] = {0.5f, 0.0f, 0.1f, 0.25f, 0.75f, 0.9f};
  for (const Direction direction : {Direction::forward, Direction::backward}) {
    std::uint32_t stream = 0;
    const auto add = [&](const Shape& shape, float probability) {
      table.add(fmt::format("{}_p{}", to_string(shape), probability),
                dropout_desc(direction, shape, {probability, stream++}));
    };
    for (const float p : kProbabilities)
      for (const Shape& shape :
           {Shape{2, 7, 7, 64}, Shape{16, 128}, Shape{1}, Shape{2, 3, 5, 7}, Shape{13, 11}})
        add(shape, p);
    // One Philox block gives four elements: lengths around multiples of four and of a block of threads.
    for (const int n : {2, 3, 4, 5, 6, 7, 8, 9, 255, 256, 257, 1023, 1024, 1025, 1027, 4099})
      for (const float p : {0.5f, 0.3f}) add({n}, p);
    // Streams have 24 bits.
    table.add("1000_p0.5_stream16777215", dropout_desc(direction, {1000}, {0.5f, 0xFFFFFFu}));
  }
}

}  // namespace quern::check
