#pragma once

/// How far a measured accuracy can be trusted.

#include <cstdint>
#include <span>
#include <string>

namespace quern::cli {

/// sqrt(p (1 - p) / n): how far a share counted over n images strays by chance; 0 for no images.
double standard_error(double share, std::int64_t count);

struct Interval {
  double low = 0, high = 1;
};
/// Wilson's 95 % interval for `correct` of `count`. Unlike share +- 2 standard errors it stays within [0, 1]
/// and does not shrink to nothing where all are correct. Source: Wilson, "Probable inference, the law of
/// succession, and statistical inference", J. Am. Stat. Assoc. 22, 1927.
Interval wilson_interval(std::int64_t correct, std::int64_t count);
/// "99.15-99.47 %"
std::string to_text(Interval interval);

/// Of several measurements of one thing.
struct Spread {
  std::int64_t n = 0;
  double mean = 0, sd = 0, min = 0, max = 0;  ///< sd with n - 1; 0 where n is 1
};
Spread spread_of(std::span<const double> values);

}  // namespace quern::cli
