#include "cli/statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quern::cli {

double standard_error(double share, std::int64_t count) {
  if (count <= 0) return 0;
  return std::sqrt(std::max(0.0, share * (1 - share)) / static_cast<double>(count));
}

Interval wilson_interval(std::int64_t correct, std::int64_t count) {
  if (count <= 0) return {};
  constexpr double z = 1.959963984540054;  // the normal distribution has 95 % of its mass within +- z
  const double n = static_cast<double>(count), p = static_cast<double>(correct) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

std::string to_text(Interval interval) {
  return fmt::format("{:.2f}-{:.2f} %", interval.low * 100, interval.high * 100);
}

Spread spread_of(std::span<const double> values) {
  Spread spread;
  spread.n = static_cast<std::int64_t>(values.size());
  if (values.empty()) return spread;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  spread.min = *least;
  spread.max = *most;
  for (const double value : values) spread.mean += value;
  spread.mean /= static_cast<double>(spread.n);
  double squares = 0;
  for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
  if (spread.n > 1) spread.sd = std::sqrt(squares / static_cast<double>(spread.n - 1));
  return spread;
}

}  // namespace quern::cli
