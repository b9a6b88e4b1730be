// Configuration, launches, and the path from an emulated thread's request to its block.

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <random>

#include "simt/block.hpp"
#include "simt/interrupt.hpp"
#include "simt/memory.hpp"
#ifdef QUERN_HAVE_RACES
#include "simt/race_detector.hpp"
#endif
#include "simt/simt.hpp"
#include "simt/worker_pool.hpp"

namespace quern::simt {

namespace {

Config current_config;
std::mutex launch_mutex;  // one emulated launch at a time, as on one stream
std::atomic<std::uint64_t> launches{0};

WorkerPool& pool() {
  static WorkerPool workers;
  return workers;
}

/// This worker's block, kept from launch to launch: its stacks and its shared memory are warm.
Block& block_of_worker(const Config& config) {
  struct Kept {
    std::size_t stack_bytes, shared_bytes;
    std::unique_ptr<Block> block;
  };
  thread_local Kept kept{};
  if (kept.block == nullptr || kept.stack_bytes != config.stack_bytes ||
      kept.shared_bytes != config.shared_bytes)
    kept = Kept{config.stack_bytes, config.shared_bytes,
                std::make_unique<Block>(config.stack_bytes, config.shared_bytes)};
  return *kept.block;
}

[[noreturn]] void refuse(const GridLaunch& launch, std::string message) {
  Fault fault;
  fault.kind = FaultKind::launch;
  fault.kernel = launch.kernel;
  fault.message = std::move(message);
  throw KernelFault({std::move(fault)});
}

/// The limits that every device since compute capability 7.5 has (programming guide, "Compute Capabilities").
void check_limits(const GridLaunch& launch, const Config& config) {
  const dim3 g = launch.grid, b = launch.block;
  if (g.x == 0 || g.y == 0 || g.z == 0 || b.x == 0 || b.y == 0 || b.z == 0)
    refuse(launch,
           fmt::format("an empty launch: grid ({},{},{}), block ({},{},{})", g.x, g.y, g.z, b.x, b.y, b.z));
  if (g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
    refuse(launch, fmt::format("grid ({},{},{}) exceeds the limit of (2^31-1, 65535, 65535)", g.x, g.y, g.z));
  const std::uint64_t threads = std::uint64_t{b.x} * b.y * b.z;
  if (threads > Block::kMaxThreads || b.z > 64)
    refuse(launch, fmt::format("block ({},{},{}) exceeds the limit of 1024 threads, 64 in z", b.x, b.y, b.z));
  if (launch.dynamic_shared_bytes > config.shared_bytes)
    refuse(launch, fmt::format("{} bytes of dynamic shared memory exceed the limit of {}",
                               launch.dynamic_shared_bytes, config.shared_bytes));
}

uint3 block_position(std::uint64_t linear, dim3 grid) {
  const std::uint64_t row = linear / grid.x;
  return uint3{static_cast<unsigned>(linear % grid.x), static_cast<unsigned>(row % grid.y),
               static_cast<unsigned>(row / grid.y)};
}

/// The blocks in the order in which they start; empty stands for 0, 1, 2, ...
std::vector<std::uint64_t> start_order(std::uint64_t blocks, const Config& config) {
  std::vector<std::uint64_t> order;
  if (config.block_order == Order::forward) return order;
  order.resize(blocks);
  std::iota(order.begin(), order.end(), 0);
  if (config.block_order == Order::reverse)
    std::reverse(order.begin(), order.end());
  else
    std::shuffle(order.begin(), order.end(), std::mt19937_64(config.seed));
  return order;
}

}  // namespace

const Config& config() noexcept {
  return current_config;
}

std::uint64_t launch_count() noexcept {
  return launches;
}

bool race_detection_available() noexcept {
#ifdef QUERN_HAVE_RACES
  return true;
#else
  return false;
#endif
}

void set_config(const Config& config) {
  if (config.races && !race_detection_available())
    fail_input("this build has no race detector: only builds without a sanitizer do (QUERN_SANITIZE empty)");
  if (config.stall_seconds != current_config.stall_seconds) set_stall_limit(config.stall_seconds);
  current_config = config;
}

void set_race_detection(bool on) {
  Config changed = current_config;
  changed.races = on;
  set_config(changed);
}

void run_grid(const GridLaunch& launch) {
  const std::lock_guard lock(launch_mutex);
  const Config& config = current_config;
  check_limits(launch, config);
  if (!launch.later_phase) ++launches;
  install_interrupts();
  const std::uint64_t blocks = std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  const std::vector<std::uint64_t> order = start_order(blocks, config);
#ifdef QUERN_HAVE_RACES
  static RaceDetector watcher;
  RaceDetector* const detector = launch.instrumented ? &watcher : nullptr;
  if (detector != nullptr) detector->launch_begins(launch);
#else
  Observer* const detector = nullptr;
#endif

  // Blocks are claimed in order, and none is claimed after a fault: all before the first faulty one have run,
  // so that the fault reported does not depend on the number of workers.
  std::atomic<std::uint64_t> next{0};
  std::mutex fault_mutex;
  std::uint64_t fault_position = blocks;
  std::optional<Fault> fault;
  std::atomic<bool> failed{false};
  const auto work = [&] {
    Block& block = block_of_worker(config);
    while (!failed.load(std::memory_order_relaxed)) {
      const std::uint64_t position = next.fetch_add(1, std::memory_order_relaxed);
      if (position >= blocks) return;
      const std::uint64_t linear = order.empty() ? position : order[position];
      std::optional<Fault> found =
          block.run(launch, config, block_position(linear, launch.grid), linear, detector);
      if (!found) continue;
      const std::lock_guard guard(fault_mutex);
      failed = true;
      if (position < fault_position) {
        fault_position = position;
        fault = std::move(found);
      }
    }
  };
  // The detector watches one block at a time.
  const auto workers = static_cast<std::uint64_t>(detector != nullptr ? 1 : config.workers);
  pool().run(static_cast<int>(std::min(blocks, workers)), work);

  std::vector<Fault> faults;
#ifdef QUERN_HAVE_RACES
  if (detector != nullptr) faults = detector->launch_ends();
#endif
  if (fault && !fault->kernel.empty()) faults.push_back(std::move(*fault));
  if (std::optional<std::string> overrun = check_guards()) {
    Fault found;
    found.kind = FaultKind::global_overrun;
    found.kernel = launch.kernel;
    found.message = std::move(*overrun) + "; the race detector tells the block, thread and line";
    faults.push_back(std::move(found));
  }
  if (!faults.empty()) throw KernelFault(std::move(faults));
}

// --- Requests of emulated threads --------------------------------------------------------------

void sync_threads(Site site) {
  Block::current()->barrier(0, 0, site);
}
int sync_threads_vote(int predicate, Vote vote, Site site) {
  return Block::current()->vote_barrier(predicate, vote, site);
}

namespace {

void check_named_barrier(int id, int threads, Site site) {
  if (id < 1 || id >= Block::kNamedBarriers || threads <= 0 || threads % kWarpSize != 0)
    Block::current()->fail(
        FaultKind::collective,
        fmt::format("barrier {} of {} threads: needs an id in 1..15 and whole warps", id, threads), site);
}

}  // namespace

void named_barrier_sync(int id, int threads, Site site) {
  check_named_barrier(id, threads, site);
  Block::current()->barrier(id, threads, site);
}
void named_barrier_arrive(int id, int threads, Site site) {
  check_named_barrier(id, threads, site);
  Block::current()->barrier_arrive(id, threads, site);
}
void sync_warp(unsigned mask, Site site) {
  Block::current()->sync_warp(mask, site);
}
void grid_dependency_wait() {
  Block::current()->dependency_wait();
}
void warp_collective(const char* name, unsigned mask, void* payload, Exchange exchange, bool aligned,
                     Site site) {
  Block::current()->collective(name, mask, payload, exchange, aligned, site);
}
void fail_collective(const char* what, Site site) {
  Block::current()->fail(FaultKind::collective, what, site);
}
int lane_index() {
  return Block::current()->current_thread() % kWarpSize;
}
void fail_misaligned(const void*, std::size_t bytes, Site site) {
  Block::current()->fail(
      FaultKind::misaligned,
      fmt::format("an access of {0} bytes to an address that is not a multiple of {0}", bytes), site);
}
void check_shared_read(const void* address, unsigned bytes, const char* what, Site site) {
  Block::current()->check_shared_read(address, bytes, what, site);
}

void* static_shared(const void* key, const char* name, std::size_t bytes, std::size_t alignment) {
  return Block::current()->static_shared(key, name, bytes, alignment);
}
void* dynamic_shared() {
  return Block::current()->arena().dynamic();
}
std::size_t dynamic_shared_bytes() {
  return Block::current()->launch().dynamic_shared_bytes;
}
void* carve_dynamic_shared(std::size_t offset, std::size_t bytes, std::size_t alignment, Site site) {
  return Block::current()->carve_dynamic(offset, bytes, alignment, site);
}

void async_copy(void* shared, const void* global, unsigned bytes, unsigned source_bytes, Site site) {
  Block::current()->async_copy(shared, global, bytes, source_bytes, site);
}
void async_copy_commit() {
  Block::current()->async_commit();
}
void async_copy_wait_group(unsigned pending) {
  Block::current()->async_wait(pending, false);
}
void async_copy_wait_all() {
  Block::current()->async_wait(0, true);
}

namespace {

void note(const void* address, std::size_t bytes, Observer::Access access, Site site) {
  if (Observer* const observer = Block::current()->observer()) observer->access(address, bytes, access, site);
}

}  // namespace

void note_read(const void* address, std::size_t bytes, Site site) {
  note(address, bytes, Observer::Access::read, site);
}
void note_write(const void* address, std::size_t bytes, Site site) {
  note(address, bytes, Observer::Access::write, site);
}
void note_atomic(const void* address, std::size_t bytes, Site site) {
  note(address, bytes, Observer::Access::atomic, site);
}
void fence() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (Observer* const observer = Block::current()->observer()) observer->fence();
}

}  // namespace quern::simt
