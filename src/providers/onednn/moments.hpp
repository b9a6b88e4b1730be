#pragma once

/// Mean and variance per channel in one pass over the data, without the cancellation of E[x^2] - E[x]^2.
///
/// Data come in blocks. A block's sums are taken of (x - shift), the shift being the mean of all blocks
/// before (the first block is read twice: once for its mean). Then the block is folded in by the update of
/// Chan, Golub and LeVeque 1979, in double. A block's rounding error is about epsilon * rows * (block mean -
/// shift)^2, and the total holds at least half of rows * (block mean - shift)^2 as true variance, so nothing
/// large ever cancels.

#include <cstddef>
#include <cstdint>
#include <span>

#include "providers/onednn/kernels.hpp"
#include "providers/onednn/support.hpp"

namespace quern::onednn {

/// The state of one part (thread) for one set of channels, as a view of workspace memory.
class Moments {
 public:
  /// Rows a block should not exceed: the sums of a block are in single precision.
  static constexpr std::int64_t kBlockRows = 1024;

  static std::size_t bytes(int channels);
  Moments(void* memory, int channels) noexcept;

  void reset() noexcept;
  bool empty() const noexcept { return *count_ == 0; }
  /// Makes an epilogue add its outputs to the sums of the next block; only when not empty().
  void attach(Epilogue& epilogue) const noexcept;
  /// Folds in the block that attach() gathered.
  void commit(std::int64_t rows) noexcept;
  /// Folds in rows of channels from memory, the first block or any other.
  void add(const Kernels& kernels, const float* x, std::int64_t rows) noexcept;

  struct Result {
    double mean = 0, variance = 0;
  };
  /// Channel `c` of `parts` states, `step` bytes apart, folded in order.
  static Result combine(void* memory, std::size_t step, int parts, int channels, std::int64_t c) noexcept;

 private:
  void add_block(const Kernels& kernels, const float* x, std::int64_t rows) noexcept;

  int channels_;
  double* count_;
  double *mean_, *m2_;
  float *shift_, *sum_, *sum_squares_;
};

/// The combined moments of the channels in `range`, as op.hpp's `stats`: mean then variance, [2][channels].
void write_stats(void* memory, std::size_t step, int parts, int channels, Range range, float* stats) noexcept;

}  // namespace quern::onednn
