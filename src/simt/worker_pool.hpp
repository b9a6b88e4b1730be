#pragma once

/// Threads that wait for launches. The launching thread is worker 0.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace quern::simt {

class WorkerPool {
 public:
  WorkerPool() = default;
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Calls `work` on `workers` threads, the caller's among them, and returns when all calls have. `work` must
  /// not throw.
  void run(int workers, const std::function<void()>& work);

 private:
  void serve(int worker);

  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void()>* work_ = nullptr;
  std::uint64_t round_ = 0;
  int wanted_ = 0;   ///< helpers of this round
  int running_ = 0;  ///< helpers that have not finished it
  bool stop_ = false;
  std::vector<std::thread> helpers_;
};

}  // namespace quern::simt
