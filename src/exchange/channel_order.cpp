#include "exchange/channel_order.hpp"

#include "quern/error.hpp"

namespace quern {
namespace {

/// Transposes the two inner axes of [outer, rows, columns].
std::vector<float> transpose(std::span<const float> values, std::int64_t outer, std::int64_t rows,
                             std::int64_t columns) {
  QUERN_REQUIRE(static_cast<std::int64_t>(values.size()) == outer * rows * columns, "{} values for {}x{}x{}",
                values.size(), outer, rows, columns);
  std::vector<float> result(values.size());
  for (std::int64_t o = 0; o < outer; ++o)
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c)
        result[static_cast<std::size_t>((o * columns + c) * rows + r)] =
            values[static_cast<std::size_t>((o * rows + r) * columns + c)];
  return result;
}

}  // namespace

std::vector<float> channels_first(std::span<const float> values, std::int64_t n, std::int64_t h,
                                  std::int64_t w, std::int64_t c) {
  return transpose(values, n, h * w, c);
}

std::vector<float> channels_last(std::span<const float> values, std::int64_t n, std::int64_t h,
                                 std::int64_t w, std::int64_t c) {
  return transpose(values, n, c, h * w);
}

}  // namespace quern
