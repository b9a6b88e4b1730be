#pragma once

/// Stackful coroutines for the scheduler: a context switch is a handful of instructions on x86-64 and
/// swapcontext elsewhere. A fiber never leaves the operating-system thread it started on.

#include <cstddef>
#include <memory>
#include <vector>

#if defined(__x86_64__) && !defined(QUERN_SIMT_UCONTEXT)
#define QUERN_SIMT_ASM_SWITCH 1
#else
#define QUERN_SIMT_ASM_SWITCH 0
#include <ucontext.h>
#endif

namespace quern::simt {

/// A suspended flow of control. The default value stands for a thread's own stack.
struct Fiber {
#if QUERN_SIMT_ASM_SWITCH
  void* stack_pointer = nullptr;
#else
  ucontext_t context{};
#endif
  // For AddressSanitizer, which must be told whose stack is whose.
  void* fake_stack = nullptr;
  const void* stack_bottom = nullptr;
  std::size_t stack_size = 0;
};

/// Memory for fibers, with an inaccessible zone below each stack, so wide that a frame rarely steps over it.
class StackPool {
 public:
  static constexpr std::size_t kGuard = 256 * 1024;

  explicit StackPool(std::size_t stack_bytes);
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  std::size_t stack_bytes() const noexcept { return stack_bytes_; }
  /// A stack that nothing runs on; its index is stable.
  int take();
  void give_back(int stack) { free_.push_back(stack); }
  /// Takes all stacks back from fibers that were abandoned in mid-flight.
  void reclaim_all();

  /// Whether an address lies in the inaccessible zone below a stack.
  bool in_guard(int stack, const void* address) const {
    return static_cast<std::size_t>(bottom(stack) - static_cast<const std::byte*>(address)) - 1 < kGuard;
  }
  std::byte* bottom(int stack) const { return stacks_[static_cast<std::size_t>(stack)]; }

 private:
  std::size_t stack_bytes_;
  std::vector<std::byte*> stacks_;
  std::vector<int> free_;
};

/// Makes `fiber` start in `entry`, which must never return, on stack number `stack`.
void prepare_fiber(Fiber& fiber, const StackPool& pool, int stack, void (*entry)());

/// Suspends `from` and continues `to`. When `from` will not be continued, `last` is true.
void switch_fiber(Fiber& from, Fiber& to, bool last = false);

/// Must be the first thing a fiber's entry does.
void fiber_started();

}  // namespace quern::simt
