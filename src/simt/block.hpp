#pragma once

/// One block of emulated threads on one worker: who runs, who waits for what, and what goes wrong.

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "simt/fiber.hpp"
#include "simt/interrupt.hpp"
#include "simt/observer.hpp"
#include "simt/runtime.hpp"
#include "simt/shared_arena.hpp"
#include "simt/simt.hpp"

namespace quern::simt {

class Block {
 public:
  static constexpr int kMaxThreads = 1024;
  static constexpr int kMaxWarps = kMaxThreads / kWarpSize;
  static constexpr int kNamedBarriers = 16;

  Block(std::size_t stack_bytes, std::size_t shared_bytes);

  /// Runs all threads of block `index`; returns what was wrong with it. `observer` may be null.
  std::optional<Fault> run(const GridLaunch& launch, const Config& config, uint3 index, std::uint64_t linear,
                           Observer* observer);

  /// The block that runs on this worker; null in host code.
  static Block* current() noexcept { return current_; }

  // The emulated threads' requests; see runtime.hpp.
  void barrier(int id, int threads, Site site);
  int vote_barrier(int predicate, Vote vote, Site site);
  void barrier_arrive(int id, int threads, Site site);
  void sync_warp(unsigned mask, Site site);
  void dependency_wait() { at(thread_).joined = true; }
  /// Whether the running thread may touch global memory: not while the kernel before may still run.
  bool joined() const { return at(thread_).joined; }
  void collective(const char* name, unsigned mask, void* payload, Exchange exchange, bool aligned, Site site);
  void* static_shared(const void* key, const char* name, std::size_t bytes, std::size_t alignment);
  void* carve_dynamic(std::size_t offset, std::size_t bytes, std::size_t alignment, Site site);
  /// Fails the block unless [address, address + bytes) lies in one shared array and is aligned to `bytes`.
  void check_shared(const void* address, unsigned bytes, const char* what, Site site);
  void check_shared_read(const void* address, unsigned bytes, const char* what, Site site);
  void async_copy(void* shared, const void* global, unsigned bytes, unsigned source_bytes, Site site);
  void async_commit();
  void async_wait(unsigned pending_groups, bool uncommitted_too);
  /// Ends the block at once; why is known elsewhere.
  [[noreturn]] void abandon() { finish(Fault{}); }
  [[noreturn]] void fail(FaultKind kind, std::string message, Site site);

  // For signal handlers and the watch over stalled blocks.
  bool in_kernel() const noexcept { return in_kernel_.load(std::memory_order_relaxed); }
  std::uint64_t progress() const noexcept { return progress_.load(std::memory_order_relaxed); }
  void mark_stalled(std::uint64_t progress) noexcept {
    stalled_at_.store(progress, std::memory_order_relaxed);
  }
  bool stalled() const noexcept { return stalled_at_.load(std::memory_order_relaxed) == progress(); }
  /// Leaves the kernel from inside a signal handler. Allocates nothing.
  [[noreturn]] void interrupt(const Interrupt& what);

  SharedArena& arena() { return arena_; }
  const GridLaunch& launch() const { return *launch_; }
  Observer* observer() { return observer_; }
  int current_thread() const { return thread_; }
  uint3 index() const { return index_; }
  uint3 thread_index(int thread) const { return threads_[static_cast<std::size_t>(thread)].index; }
  /// The running thread's stack, which only it may use.
  bool on_current_stack(const void* address) const;
  Fault fault_at(FaultKind kind, std::string message, int thread) const;

 private:
  enum class State : std::uint8_t { fresh, ready, at_barrier, at_collective, ended };

  struct AsyncCopy {
    void* shared;
    const void* global;
    std::uint8_t bytes, source_bytes;
    std::uint32_t group;
    Site site;
  };

  struct Thread {
    Fiber fiber;
    uint3 index{};
    int stack = -1;
    State state = State::fresh;
    bool joined = false;  ///< has called grid_dependency_wait(), or need not
    std::uint8_t barrier = 0;
    unsigned mask = 0;
    const char* collective = nullptr;
    Exchange exchange = nullptr;
    void* payload = nullptr;
    Site site;
    std::uint32_t async_group = 0;
    std::vector<AsyncCopy> async_copies;
  };

  struct Warp {
    std::uint32_t ready = 0;
    std::uint32_t alive = 0;
    std::uint32_t waiting = 0;  ///< lanes at a collective
  };

  struct Barrier {
    int expected = 0;
    int arrived = 0;
    bool mixed = false;  ///< threads came to it at different places
    Site site;
    std::array<std::uint8_t, kMaxWarps> lanes{};  ///< how many of each warp have arrived
  };

  static void fiber_main();
  void run_threads();
  void become(int thread);
  void set_ready(int thread);
  int pick();
  void suspend();
  void thread_ended();
  bool arrive(int id, int threads, Site site);
  void release(int id);
  bool try_complete(int warp, int thread);
  [[noreturn]] void finish(std::optional<Fault> fault);
  Fault stuck() const;
  Fault interrupted() const;
  Fault mixed_barrier(int id) const;
  std::string who_waits_where() const;
  unsigned random_bit(std::uint32_t set);
  Thread& at(int thread) { return threads_[static_cast<std::size_t>(thread)]; }
  const Thread& at(int thread) const { return threads_[static_cast<std::size_t>(thread)]; }

  static constinit thread_local Block* current_;

  StackPool stacks_;
  SharedArena arena_;
  std::vector<Thread> threads_;
  std::array<Warp, kMaxWarps> warps_{};
  std::uint32_t ready_warps_ = 0;
  std::array<Barrier, kNamedBarriers> barriers_{};
  Fiber worker_;
  Observer* observer_ = nullptr;
  const GridLaunch* launch_ = nullptr;
  uint3 index_{};
  int thread_count_ = 0;
  int warp_count_ = 0;
  int alive_ = 0;
  int thread_ = -1;
  Order order_ = Order::forward;
  bool from_the_start_ = true;  ///< the next pick begins with the block's first thread
  std::uint64_t random_state_ = 0;
  int votes_ = 0;        ///< threads with a true predicate at the vote under way
  int vote_result_ = 0;  ///< of the last complete one
  std::optional<Fault> fault_;
  Interrupt interrupt_;
  std::atomic<bool> in_kernel_{false};
  std::atomic<std::uint64_t> progress_{1};    ///< counts switches between threads
  std::atomic<std::uint64_t> stalled_at_{0};  ///< the progress at which the block was found to stand still
  Watched watched_{*this};                    ///< last: the watch must not see a block half made
};

}  // namespace quern::simt
