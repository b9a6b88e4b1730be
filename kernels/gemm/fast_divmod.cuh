#pragma once

/// Division by a number that the host knows, as a multiplication and a shift.

#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

/// quotient and remainder of 0 <= n < 2^31 by a divisor >= 1.
///
/// With c = ceil(log2 d) and m = ceil(2^(31+c) / d), n / d = floor(n * m / 2^(31+c)): m is too large by less
/// than one, so n * m / 2^(31+c) exceeds n / d by less than n / 2^(31+c) < 1 / d, too little to reach the
/// next integer. (Granlund & Montgomery 1994, "Division by invariant integers using multiplication".)
class FastDivmod {
 public:
  FastDivmod() = default;
  explicit FastDivmod(int divisor) : divisor_(divisor) {
    if (divisor == 1) return;
    int log = 0;
    while ((std::int64_t{1} << log) < divisor) ++log;
    const std::uint64_t power = std::uint64_t{1} << (31 + log);
    multiplier_ =
        static_cast<unsigned>((power + static_cast<unsigned>(divisor) - 1) / static_cast<unsigned>(divisor));
    shift_ = log - 1;
  }

  __device__ __forceinline__ int divide(int n) const {
    const auto quotient = static_cast<int>(__umulhi(static_cast<unsigned>(n), multiplier_) >> shift_);
    return divisor_ == 1 ? n : quotient;
  }
  __device__ __forceinline__ int divide(int n, int& remainder) const {
    const int quotient = divide(n);
    remainder = n - quotient * divisor_;
    return quotient;
  }
  __device__ __forceinline__ int divisor() const { return divisor_; }

 private:
  int divisor_ = 1;
  unsigned multiplier_ = 0;
  int shift_ = 0;
};

}  // namespace quern::kernels::QUERN_TARGET
