#pragma once

namespace quern::cli {

/// While one of these lives, the first SIGINT or SIGTERM is noted and the second kills the process.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// The signal noted, or 0.
  static int caught() noexcept;
};

}  // namespace quern::cli
