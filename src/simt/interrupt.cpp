#include "simt/interrupt.hpp"

#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "simt/block.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QUERN_SIMT_SANITIZED 1
#else
#define QUERN_SIMT_SANITIZED 0
#endif

namespace quern::simt {

namespace {

int stall_signal() {
  return SIGRTMIN + 7;
}

#if !QUERN_SIMT_SANITIZED

constexpr std::size_t kSignalStack = 64 * 1024;

struct sigaction previous_segv, previous_bus;

const void* code_address([[maybe_unused]] void* context) {
#if defined(__x86_64__)
  return reinterpret_cast<const void*>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#else
  return nullptr;
#endif
}

void on_invalid_address(int signal, siginfo_t* info, void* context) {
  Block* const block = Block::current();
  if (block != nullptr && block->in_kernel())
    block->interrupt({Interrupt::Kind::invalid_address, info->si_addr, code_address(context)});
  // Not ours: let the instruction fault again under whoever handled it before.
  sigaction(signal, signal == SIGSEGV ? &previous_segv : &previous_bus, nullptr);
}

void on_stall(int, siginfo_t*, void* context) {
  Block* const block = Block::current();
  if (block != nullptr && block->in_kernel() && block->stalled())
    block->interrupt({Interrupt::Kind::no_progress, nullptr, code_address(context)});
}

#endif

/// Looks at all blocks from time to time and interrupts those that stand still.
class Watch {
 public:
  void add(Block& block) {
    const std::lock_guard lock(mutex_);
    entries_.push_back({&block, pthread_self(), 0, Clock::now()});
    if (!thread_.joinable()) thread_ = std::thread(&Watch::look, this);
  }
  void remove(Block& block) {
    const std::lock_guard lock(mutex_);
    std::erase_if(entries_, [&](const Entry& entry) { return entry.block == &block; });
  }
  void set_limit(double seconds) {
    const std::lock_guard lock(mutex_);
    limit_ = std::chrono::duration<double>(seconds);
    wake_.notify_all();
  }
  ~Watch() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    Block* block;
    pthread_t thread;
    std::uint64_t progress;
    Clock::time_point since;
  };

  void look() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      const auto pause = std::min(std::chrono::duration<double>(1.0), limit_ / 4);
      if (limit_.count() <= 0)
        wake_.wait(lock);
      else
        wake_.wait_for(lock, pause);
      if (limit_.count() <= 0) continue;
      for (Entry& entry : entries_) {
        const std::uint64_t progress = entry.block->progress();
        if (progress != entry.progress || !entry.block->in_kernel()) {
          entry.progress = progress;
          entry.since = Clock::now();
        } else if (Clock::now() - entry.since > limit_) {
          entry.block->mark_stalled(progress);
          pthread_kill(entry.thread, stall_signal());
          entry.since = Clock::now();
        }
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Entry> entries_;
  std::chrono::duration<double> limit_{30.0};
  bool stop_ = false;
  std::thread thread_;
};

Watch& watch() {
  static Watch instance;
  return instance;
}

}  // namespace

void install_interrupts() {
#if !QUERN_SIMT_SANITIZED
  static const bool installed = [] {
    watch();  // outlives the workers, whose blocks take their leave of it
    // Handlers leave by switching stacks and never return: the signal must not stay blocked.
    struct sigaction action {};
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    action.sa_sigaction = on_invalid_address;
    sigaction(SIGSEGV, &action, &previous_segv);
    sigaction(SIGBUS, &action, &previous_bus);
    action.sa_sigaction = on_stall;
    sigaction(stall_signal(), &action, nullptr);
    return true;
  }();
  (void)installed;
#endif
}

void set_stall_limit(double seconds) {
  watch().set_limit(seconds);
}

Watched::Watched(Block& block) : block_(block) {
#if !QUERN_SIMT_SANITIZED
  stack_t current{};
  if (sigaltstack(nullptr, &current) == 0 && (current.ss_flags & SS_DISABLE) != 0) {
    signal_stack_ = std::malloc(kSignalStack);
    stack_t stack{};
    stack.ss_sp = signal_stack_;
    stack.ss_size = kSignalStack;
    if (signal_stack_ != nullptr) sigaltstack(&stack, nullptr);
  }
  watch().add(block_);
#endif
}

Watched::~Watched() {
#if !QUERN_SIMT_SANITIZED
  watch().remove(block_);
  if (signal_stack_ != nullptr) {
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
    std::free(signal_stack_);
  }
#endif
}

}  // namespace quern::simt
