#include "providers/onednn/threads.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <pthread.h>
#include <sched.h>
#include <signal.h>

namespace quern::onednn {

namespace {

cpu_set_t current_mask() noexcept {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) CPU_ZERO(&mask);
  return mask;
}

/// The lowest-numbered hardware thread of the same physical core; the thread itself when the system does not
/// tell.
int first_sibling(int cpu) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
  int first = cpu;
  return file >> first ? first : cpu;
}

std::vector<int> list_cores() {
  const cpu_set_t mask = current_mask();
  std::vector<int> first, second;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const int sibling = first_sibling(cpu);
    const bool leader = sibling == cpu || !CPU_ISSET(sibling, &mask);
    (leader ? first : second).push_back(cpu);
  }
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

void bind_to(int cpu) noexcept {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(cpu, &mask);
  // A refusal (a mask that shrank meanwhile) leaves the thread where it was, which is only slower.
  static_cast<void>(sched_setaffinity(0, sizeof mask, &mask));
}

void relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/// Waits until the word differs from `old`, spinning `spins` times first; returns its new value.
std::uint32_t wait_change(const std::atomic<std::uint32_t>& word, std::uint32_t old, int spins) noexcept {
  for (int i = 0; i < spins; ++i) {
    if (const std::uint32_t now = word.load(std::memory_order_acquire); now != old) return now;
    relax();
  }
  word.wait(old, std::memory_order_acquire);
  return word.load(std::memory_order_acquire);
}

class Pool {
 public:
  ~Pool() {
    stop_.store(true, std::memory_order_relaxed);
    announce();
    for (std::thread& worker : workers_) worker.join();
  }

  void reserve(int threads) {
    if (threads <= team_.load(std::memory_order_relaxed)) return;
    const std::lock_guard lock(busy_);
    grow(threads);
  }

  void run(const detail::Job& job) noexcept {
    std::unique_lock lock(busy_, std::try_to_lock);
    if (inside_ || !lock) {
      for (int phase = 0; phase < job.phases; ++phase)
        for (int part = 0; part < job.parts; ++part) job.run(job.context, part, phase);
      return;
    }
    inside_ = true;
    job_ = job;
    announce();
    execute(0);
    inside_ = false;
  }

 private:
  // About 0.1 ms: a pause takes 15 to 40 ns.
  static constexpr int kSpins = 4000;

  /// With busy_ held. Fewer threads than asked for, where the system has no more, are as good.
  void grow(int threads) {
    while (team() < threads) {
      // Signals are the program's business, not the workers'.
      sigset_t all, before;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);
      bool started = true;
      try {
        const int index = team();
        const std::uint32_t seen = epoch_.load(std::memory_order_relaxed);
        workers_.emplace_back([this, index, seen] { work(index, seen); });
      } catch (const std::system_error&) {
        started = false;
      }
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      if (!started) break;
      team_.store(team() + 1, std::memory_order_relaxed);
    }
    const int cores = static_cast<int>(usable_cores().size());
    pin_ = should_pin(std::getenv("QUERN_PIN"), team(), cores);
    // More threads than cores: whoever spins keeps another from its work.
    spins_.store(team() <= std::max(cores, 1) ? kSpins : 0, std::memory_order_relaxed);
  }

  int team() const noexcept { return team_.load(std::memory_order_relaxed); }
  int spins() const noexcept { return spins_.load(std::memory_order_relaxed); }

  void announce() noexcept {
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
  }

  void work(int index, std::uint32_t seen) noexcept {
    pthread_setname_np(pthread_self(), "quern-worker");
    inside_ = true;
    for (;;) {
      seen = wait_change(epoch_, seen, spins());
      if (stop_.load(std::memory_order_relaxed)) return;
      execute(index);
    }
  }

  /// One thread's parts of the current job. Everybody takes part in its barriers, those without a part too.
  void execute(int thread) noexcept {
    if (pin_) pin(thread);
    const detail::Job job = job_;
    const int threads = team();
    for (int phase = 0; phase < job.phases; ++phase) {
      for (int part = thread; part < job.parts; part += threads) job.run(job.context, part, phase);
      barrier(threads);
    }
  }

  void barrier(int threads) noexcept {
    const std::uint32_t generation = generation_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived_.store(0, std::memory_order_relaxed);
      generation_.store(generation + 1, std::memory_order_release);
      generation_.notify_all();
    } else {
      wait_change(generation_, generation, spins());
    }
  }

  static void pin(int thread) noexcept {
    if (bound_to_ == thread) return;
    bound_to_ = thread;
    bind_to(usable_cores()[static_cast<std::size_t>(thread)]);
  }

  inline static thread_local bool inside_ = false;
  inline static thread_local int bound_to_ = -1;

  std::mutex busy_;
  std::vector<std::thread> workers_;
  std::atomic<int> team_{1}, spins_{kSpins};
  bool pin_ = false;
  std::atomic<bool> stop_{false};
  detail::Job job_;
  // On cache lines of their own: threads spin on them.
  alignas(64) std::atomic<std::uint32_t> epoch_{0};
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  alignas(64) std::atomic<int> arrived_{0};
};

std::unique_ptr<Pool> pool_instance;

Pool& pool() {
  static const bool made = [] {
    pool_instance = std::make_unique<Pool>();
    pthread_atfork(nullptr, nullptr, [] {
      // The child has the memory of the pool, not its threads: it starts one of its own.
      static_cast<void>(pool_instance.release());
      pool_instance = std::make_unique<Pool>();
    });
    return true;
  }();
  static_cast<void>(made);
  return *pool_instance;
}

}  // namespace

const std::vector<int>& usable_cores() {
  static const std::vector<int> cores = list_cores();
  return cores;
}

bool should_pin(const char* setting, int threads, int cores) noexcept {
  return setting != nullptr && std::string_view(setting) == "1" && threads <= cores;
}

void reserve_threads(int threads) {
  pool().reserve(threads);
}

void detail::run_job(const Job& job) noexcept {
  if (job.parts == 1) {
    for (int phase = 0; phase < job.phases; ++phase) job.run(job.context, 0, phase);
    return;
  }
  Pool& here = pool();
  here.reserve(job.parts);
  here.run(job);
}

}  // namespace quern::onednn
