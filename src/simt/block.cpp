#include "simt/block.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace quern::simt {

constinit thread_local uint3 threadIdx{};
constinit thread_local uint3 blockIdx{};
constinit thread_local dim3 blockDim{};
constinit thread_local dim3 gridDim{};
constinit thread_local Block* Block::current_ = nullptr;

namespace {

std::uint64_t mix(std::uint64_t x) {  // splitmix64's finaliser (Steele, Lea, Flood 2014)
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

constexpr std::uint32_t bit(int index) {
  return 1u << index;
}

bool same_place(const Site& a, const Site& b) {
  return a.line() == b.line() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

}  // namespace

Block::Block(std::size_t stack_bytes, std::size_t shared_bytes)
    : stacks_(stack_bytes), arena_(shared_bytes), threads_(kMaxThreads) {}

std::optional<Fault> Block::run(const GridLaunch& launch, const Config& config, uint3 index,
                                std::uint64_t linear, Observer* observer) {
  launch_ = &launch;
  observer_ = observer;
  index_ = index;
  order_ = config.thread_order;
  random_state_ = mix(config.seed) ^ mix(linear);
  thread_count_ = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  warp_count_ = (thread_count_ + kWarpSize - 1) / kWarpSize;
  alive_ = thread_count_;
  fault_.reset();
  votes_ = 0;
  barriers_.fill(Barrier{});
  ready_warps_ = 0;
  for (int w = 0; w < warp_count_; ++w) {
    const int lanes = std::min(kWarpSize, thread_count_ - w * kWarpSize);
    const std::uint32_t all = lanes == kWarpSize ? kFullMask : bit(lanes) - 1;
    warps_[static_cast<std::size_t>(w)] = Warp{all, all, 0};
    ready_warps_ |= bit(w);
  }
  uint3 position{};
  for (int t = 0; t < thread_count_; ++t) {
    Thread& thread = at(t);
    thread.index = position;
    thread.state = State::fresh;
    thread.joined = !launch.programmatic;
    thread.async_group = 0;
    thread.async_copies.clear();
    if (++position.x == launch.block.x) {
      position.x = 0;
      if (++position.y == launch.block.y) {
        position.y = 0;
        ++position.z;
      }
    }
  }
  arena_.reset(launch.dynamic_shared_bytes);
  if (observer_ != nullptr) observer_->block_begins(arena_, linear);

  current_ = this;
  blockIdx = index;
  blockDim = launch.block;
  gridDim = launch.grid;
  from_the_start_ = order_ != Order::random;
  const int first = pick();
  at(first).stack = stacks_.take();
  prepare_fiber(at(first).fiber, stacks_, at(first).stack, &Block::fiber_main);
  become(first);
  switch_fiber(worker_, at(first).fiber);
  current_ = nullptr;

  if (interrupt_.kind != Interrupt::Kind::none) {
    fault_ = interrupted();
    interrupt_ = {};
  }
  if (fault_)
    stacks_.reclaim_all();
  else
    stacks_.give_back(at(thread_).stack);
  std::ptrdiff_t offset = 0;
  if (const SharedArena::Array* array = arena_.overwritten(offset); !fault_ && array != nullptr) {
    fault_ = fault_at(FaultKind::shared_overrun,
                      fmt::format("a write outside of '{}' in shared memory: at byte {} of {}", array->name,
                                  offset, array->bytes),
                      -1);
  }
  if (observer_ != nullptr) observer_->block_ends();
  return std::move(fault_);
}

void Block::fiber_main() {
  fiber_started();
  current_->in_kernel_.store(true, std::memory_order_relaxed);
  current_->run_threads();
}

void Block::run_threads() {
  for (;;) {
    launch_->invoke(launch_->invocation);
    const int self = thread_;
    if (!joined())
      finish(fault_at(FaultKind::race,
                      "launched as a programmatic dependent, but ended without join_stream(): it would not "
                      "wait for the kernels before it",
                      self));
    thread_ended();
    if (alive_ == 0) finish(std::nullopt);
    const int next = pick();
    if (next < 0) finish(stuck());
    if (at(next).state == State::fresh) {
      // A thread that never blocks needs no stack of its own: the next one starts where it ended.
      at(next).stack = at(self).stack;
      at(next).fiber.stack_bottom = at(self).fiber.stack_bottom;
      at(next).fiber.stack_size = at(self).fiber.stack_size;
      become(next);
      continue;
    }
    stacks_.give_back(at(self).stack);
    become(next);
    switch_fiber(at(self).fiber, at(next).fiber, true);
  }
}

void Block::become(int thread) {
  thread_ = thread;
  threadIdx = at(thread).index;
  progress_.store(progress_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void Block::finish(std::optional<Fault> fault) {
  fault_ = std::move(fault);
  in_kernel_.store(false, std::memory_order_relaxed);
  switch_fiber(at(thread_).fiber, worker_, true);
  __builtin_unreachable();
}

void Block::interrupt(const Interrupt& what) {
  interrupt_ = what;
  in_kernel_.store(false, std::memory_order_relaxed);
  switch_fiber(at(thread_).fiber, worker_, true);
  __builtin_unreachable();
}

void Block::set_ready(int thread) {
  at(thread).state = State::ready;
  warps_[static_cast<std::size_t>(thread / kWarpSize)].ready |= bit(thread % kWarpSize);
  ready_warps_ |= bit(thread / kWarpSize);
}

unsigned Block::random_bit(std::uint32_t set) {
  random_state_ = mix(random_state_);
  for (auto skip = static_cast<unsigned>(random_state_ % static_cast<unsigned>(std::popcount(set))); skip > 0;
       --skip)
    set &= set - 1;
  return static_cast<unsigned>(std::countr_zero(set));
}

/// Takes the next runnable thread, or -1. A warp goes on as long as one of its lanes can: its data are in the
/// cache.
int Block::pick() {
  if (ready_warps_ == 0) return -1;
  unsigned w = static_cast<unsigned>(thread_) / kWarpSize;
  unsigned lane = static_cast<unsigned>(thread_) % kWarpSize;
  const auto next = [this](std::uint32_t set, unsigned after) {
    if (order_ == Order::forward) {
      const std::uint32_t above = after == 31 ? 0 : set & (~0u << (after + 1));
      return static_cast<unsigned>(std::countr_zero(above != 0 ? above : set));
    }
    const std::uint32_t below = set & ((1u << after) - 1);
    return 31u - static_cast<unsigned>(std::countl_zero(below != 0 ? below : set));
  };
  if (std::exchange(from_the_start_, false)) {
    w = order_ == Order::forward ? 0 : static_cast<unsigned>(warp_count_) - 1;
    lane = order_ == Order::forward ? 31 : 0;
    w = warps_[w].ready != 0 ? w : next(ready_warps_, w);
    lane = next(warps_[w].ready, lane);
  } else if (order_ == Order::random) {
    w = random_bit(ready_warps_);
    lane = random_bit(warps_[w].ready);
  } else if (warps_[w].ready != 0) {
    lane = next(warps_[w].ready, lane);
  } else {
    w = next(ready_warps_, w);
    lane = next(warps_[w].ready, order_ == Order::forward ? 31 : 0);
  }
  Warp& warp = warps_[w];
  warp.ready &= ~(1u << lane);
  if (warp.ready == 0) ready_warps_ &= ~(1u << w);
  return static_cast<int>(w * kWarpSize + lane);
}

void Block::suspend() {
  const int self = thread_;
  const int next = pick();
  if (next < 0) finish(stuck());
  if (next == self) return;
  if (at(next).state == State::fresh) {
    at(next).stack = stacks_.take();
    prepare_fiber(at(next).fiber, stacks_, at(next).stack, &Block::fiber_main);
  }
  become(next);
  switch_fiber(at(self).fiber, at(next).fiber);
}

void Block::thread_ended() {
  const int w = thread_ / kWarpSize;
  Warp& warp = warps_[static_cast<std::size_t>(w)];
  at(thread_).state = State::ended;
  --alive_;
  warp.alive &= ~bit(thread_ % kWarpSize);
  // A collective that waited for this lane alone goes on without it.
  for (std::uint32_t lanes = warp.waiting; lanes != 0; lanes &= lanes - 1)
    if (try_complete(w, w * kWarpSize + std::countr_zero(lanes))) break;
}

// --- Barriers ----------------------------------------------------------------------------------

/// Notes the current thread's arrival; true when it was the last.
bool Block::arrive(int id, int threads, Site site) {
  Barrier& barrier = barriers_[static_cast<std::size_t>(id)];
  if (barrier.arrived == 0) {
    barrier.expected = threads;
    barrier.site = site;
    barrier.mixed = false;
    barrier.lanes.fill(0);
  } else if (barrier.expected != threads) {
    fail(FaultKind::divergent_barrier,
         fmt::format("barrier {} is used with {} threads here and with {} at {}:{}", id, threads,
                     barrier.expected, barrier.site.file_name(), barrier.site.line()),
         site);
  } else if (id == 0 && !same_place(barrier.site, site)) {
    barrier.mixed = true;
  }
  const int w = thread_ / kWarpSize;
  if (++barrier.lanes[static_cast<std::size_t>(w)] == kWarpSize && id != 0 && observer_ != nullptr)
    observer_->warp_arrives(id, w);
  return ++barrier.arrived == barrier.expected;
}

void Block::release(int id) {
  Barrier& barrier = barriers_[static_cast<std::size_t>(id)];
  std::uint32_t waiting_warps = 0;
  for (int t = 0; t < thread_count_; ++t) {
    if (at(t).state != State::at_barrier || at(t).barrier != id) continue;
    waiting_warps |= bit(t / kWarpSize);
    set_ready(t);
  }
  barrier.arrived = 0;
  for (std::uint8_t& lanes : barrier.lanes) {
    if (id != 0 && lanes != 0 && lanes != kWarpSize)
      fail(FaultKind::collective,
           fmt::format("barrier {} is reached by {} lanes of a warp: it counts whole warps", id, lanes),
           barrier.site);
    lanes = 0;
  }
  if (id == 0) from_the_start_ = order_ != Order::random;
  if (observer_ == nullptr) return;
  if (id == 0)
    observer_->block_synchronised();
  else
    observer_->warps_released(id, waiting_warps);
}

void Block::barrier(int id, int threads, Site site) {
  Thread& self = at(thread_);
  const bool last = arrive(id, id == 0 ? thread_count_ : threads, site);
  self.state = State::at_barrier;
  self.barrier = static_cast<std::uint8_t>(id);
  self.site = site;
  if (last) {
    if (barriers_[static_cast<std::size_t>(id)].mixed) finish(mixed_barrier(id));
    release(id);
  }
  suspend();
}

int Block::vote_barrier(int predicate, Vote vote, Site site) {
  if (predicate != 0) ++votes_;
  if (barriers_[0].arrived + 1 == thread_count_) {
    vote_result_ = votes_;
    votes_ = 0;
  }
  barrier(0, 0, site);
  switch (vote) {
    case Vote::count:
      return vote_result_;
    case Vote::any:
      return vote_result_ > 0 ? 1 : 0;
    case Vote::all:
      break;
  }
  return vote_result_ == thread_count_ ? 1 : 0;
}

void Block::barrier_arrive(int id, int threads, Site site) {
  if (arrive(id, threads, site)) release(id);
}

// --- Warp collectives --------------------------------------------------------------------------

void Block::collective(const char* name, unsigned mask, void* payload, Exchange exchange, bool aligned,
                       Site site) {
  const int w = thread_ / kWarpSize;
  Warp& warp = warps_[static_cast<std::size_t>(w)];
  const std::uint32_t self_bit = bit(thread_ % kWarpSize);
  if ((mask & self_bit) == 0)
    fail(FaultKind::collective,
         fmt::format("{} with mask {:#010x}, which lacks the calling lane {}", name, mask,
                     thread_ % kWarpSize),
         site);
  if (aligned && warp.alive != kFullMask)
    fail(FaultKind::collective,
         fmt::format("{} needs all 32 lanes of its warp; only lanes {:#010x} are there", name, warp.alive),
         site);
  Thread& self = at(thread_);
  self.state = State::at_collective;
  self.mask = mask;
  self.collective = name;
  self.exchange = exchange;
  self.payload = payload;
  self.site = site;
  warp.waiting |= self_bit;
  if (!try_complete(w, thread_) || order_ == Order::random) {
    suspend();
  } else {
    // The last to arrive goes on at once.
    warp.ready &= ~self_bit;
    if (warp.ready == 0) ready_warps_ &= ~bit(w);
  }
}

/// Completes the collective that `thread` waits in, if all its lanes have come.
bool Block::try_complete(int w, int thread) {
  Warp& warp = warps_[static_cast<std::size_t>(w)];
  const Thread& first = at(thread);
  const std::uint32_t needed = first.mask & warp.alive;
  if ((warp.waiting & needed) != needed) return false;
  void* lanes[kWarpSize] = {};
  for (std::uint32_t rest = needed; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const Thread& other = at(w * kWarpSize + lane);
    if (other.mask != first.mask || std::strcmp(other.collective, first.collective) != 0) return false;
    if (!same_place(other.site, first.site)) {
      finish(fault_at(
          FaultKind::divergent_barrier,
          fmt::format("{} is reached at different places: {}", first.collective, who_waits_where()), thread));
    }
    lanes[lane] = other.payload;
  }
  if (first.exchange != nullptr)
    first.exchange(lanes);
  else if (observer_ != nullptr)
    observer_->warp_synchronised(w, needed, needed == warp.alive);
  warp.waiting &= ~needed;
  for (std::uint32_t rest = needed; rest != 0; rest &= rest - 1)
    set_ready(w * kWarpSize + std::countr_zero(rest));
  return true;
}

void Block::sync_warp(unsigned mask, Site site) {
  collective("__syncwarp", mask, nullptr, nullptr, false, site);
}

// --- Memory ------------------------------------------------------------------------------------

void* Block::static_shared(const void* key, const char* name, std::size_t bytes, std::size_t alignment) {
  void* const array = arena_.find_or_add(key, name, bytes, alignment);
  if (array == nullptr) {
    finish(fault_at(
        FaultKind::launch,
        fmt::format("static shared memory: '{}' of {} bytes after {} bytes exceeds the limit of {}; use "
                    "dynamic shared memory",
                    name, bytes, arena_.static_bytes(), SharedArena::kStaticLimit),
        thread_));
  }
  const std::size_t together = arena_.static_bytes() + launch_->dynamic_shared_bytes;
  if (!launch_->asked_for_shared && together > SharedArena::kStaticLimit) {
    finish(fault_at(
        FaultKind::launch,
        fmt::format("{} bytes of static and {} of dynamic shared memory exceed the {} that a launch has "
                    "without asking for more (asks_for_shared in kernels/launcher.hpp)",
                    arena_.static_bytes(), launch_->dynamic_shared_bytes, SharedArena::kStaticLimit),
        thread_));
  }
  return array;
}

void* Block::carve_dynamic(std::size_t offset, std::size_t bytes, std::size_t alignment, Site site) {
  if (offset + bytes > launch_->dynamic_shared_bytes)
    fail(FaultKind::shared_overrun,
         fmt::format("the pieces taken from dynamic shared memory need {} bytes; the launch gave {}",
                     offset + bytes, launch_->dynamic_shared_bytes),
         site);
  return arena_.carve(offset, bytes, alignment);
}

void Block::check_shared(const void* address, unsigned bytes, const char* what, Site site) {
  if (!arena_.contains(address))
    fail(FaultKind::shared_overrun, fmt::format("{}: the address is not in shared memory", what), site);
  const SharedArena::Array& array = arena_.nearest(address);
  const std::ptrdiff_t offset = static_cast<const std::byte*>(address) - array.base;
  if (offset < 0 || static_cast<std::size_t>(offset) + bytes > array.bytes)
    fail(FaultKind::shared_overrun,
         fmt::format("{} of {} bytes at byte {} of '{}', which has {}", what, bytes, offset, array.name,
                     array.bytes),
         site);
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0)
    fail(FaultKind::misaligned,
         fmt::format("{} of {} bytes at byte {} of '{}': the address is not a multiple of {}", what, bytes,
                     offset, array.name, bytes),
         site);
}

void Block::check_shared_read(const void* address, unsigned bytes, const char* what, Site site) {
  check_shared(address, bytes, what, site);
  if (observer_ != nullptr) observer_->access(address, bytes, Observer::Access::read, site);
}

void Block::async_copy(void* shared, const void* global, unsigned bytes, unsigned source_bytes, Site site) {
  check_shared(shared, bytes, "cp.async", site);
  if (source_bytes > 0 && reinterpret_cast<std::uintptr_t>(global) % bytes != 0)
    fail(FaultKind::misaligned,
         fmt::format("cp.async of {} bytes from an address that is not a multiple of them", bytes), site);
  if (observer_ != nullptr) {
    if (source_bytes > 0) observer_->access(global, source_bytes, Observer::Access::read, site);
    observer_->access(shared, bytes, Observer::Access::async_begin, site);
  }
  std::memset(shared, kUninitialised, bytes);
  Thread& self = at(thread_);
  self.async_copies.push_back(AsyncCopy{shared, global, static_cast<std::uint8_t>(bytes),
                                        static_cast<std::uint8_t>(source_bytes), self.async_group, site});
}

void Block::async_commit() {
  ++at(thread_).async_group;
}

void Block::async_wait(unsigned pending_groups, bool uncommitted_too) {
  Thread& self = at(thread_);
  const std::uint32_t done = self.async_group > pending_groups ? self.async_group - pending_groups : 0;
  std::erase_if(self.async_copies, [&](const AsyncCopy& copy) {
    if (!uncommitted_too && copy.group >= done) return false;
    std::memcpy(copy.shared, copy.global, copy.source_bytes);
    std::memset(static_cast<std::byte*>(copy.shared) + copy.source_bytes, 0,
                static_cast<std::size_t>(copy.bytes - copy.source_bytes));
    if (observer_ != nullptr)
      observer_->access(copy.shared, copy.bytes, Observer::Access::async_arrive, copy.site);
    return true;
  });
}

bool Block::on_current_stack(const void* address) const {
  const std::byte* const bottom = stacks_.bottom(at(thread_).stack);
  return static_cast<std::size_t>(static_cast<const std::byte*>(address) - bottom) < stacks_.stack_bytes();
}

}  // namespace quern::simt
