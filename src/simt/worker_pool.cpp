#include "simt/worker_pool.hpp"

namespace quern::simt {

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void WorkerPool::run(int workers, const std::function<void()>& work) {
  if (workers <= 1) {
    work();
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    work_ = &work;
    wanted_ = workers - 1;
    running_ = wanted_;
    ++round_;
    while (static_cast<int>(helpers_.size()) < wanted_)
      helpers_.emplace_back(&WorkerPool::serve, this, static_cast<int>(helpers_.size()));
  }
  start_.notify_all();
  work();
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return running_ == 0; });
}

void WorkerPool::serve(int worker) {
  std::uint64_t served = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    start_.wait(lock, [&] { return stop_ || (round_ != served && worker < wanted_); });
    if (stop_) return;
    served = round_;
    const std::function<void()>& work = *work_;
    lock.unlock();
    work();
    lock.lock();
    if (--running_ == 0) done_.notify_one();
  }
}

}  // namespace quern::simt
