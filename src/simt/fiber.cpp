#include "simt/fiber.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define QUERN_SIMT_ASAN 1
#else
#define QUERN_SIMT_ASAN 0
#endif

#if QUERN_SIMT_ASM_SWITCH
extern "C" void quern_simt_switch(void** save, void* load);
// The callee-saved registers of the System V ABI; the floating-point control words never change here.
asm(R"(
  .text
  .p2align 4
  .globl quern_simt_switch
  .hidden quern_simt_switch
  .type quern_simt_switch, @function
quern_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size quern_simt_switch, .-quern_simt_switch
)");
#endif

namespace quern::simt {

namespace {

// Stacks are all aligned alike: without an offset their hot ends would share a few sets of the first-level
// cache.
constexpr std::size_t kStagger = 192;
constexpr int kStaggers = 16;

#if QUERN_SIMT_ASAN
thread_local Fiber* switched_from = nullptr;
#endif

void after_switch([[maybe_unused]] void* fake_stack) {
#if QUERN_SIMT_ASAN
  Fiber* const from = switched_from;
  __sanitizer_finish_switch_fiber(fake_stack, &from->stack_bottom, &from->stack_size);
#endif
}

}  // namespace

StackPool::StackPool(std::size_t stack_bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t room = kStagger * kStaggers;
  stack_bytes_ = (stack_bytes + room + page - 1) / page * page;
}

StackPool::~StackPool() {
  for (std::byte* const stack : stacks_) munmap(stack - kGuard, stack_bytes_ + kGuard);
}

int StackPool::take() {
  if (free_.empty()) {
    void* const memory = mmap(nullptr, stack_bytes_ + kGuard, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, kGuard, PROT_NONE);
    stacks_.push_back(static_cast<std::byte*>(memory) + kGuard);
    return static_cast<int>(stacks_.size()) - 1;
  }
  const int stack = free_.back();
  free_.pop_back();
  return stack;
}

void StackPool::reclaim_all() {
  free_.clear();
  for (int stack = static_cast<int>(stacks_.size()) - 1; stack >= 0; --stack) {
    free_.push_back(stack);
#if QUERN_SIMT_ASAN
    __asan_unpoison_memory_region(bottom(stack), stack_bytes_);
#endif
  }
}

void prepare_fiber(Fiber& fiber, const StackPool& pool, int stack, void (*entry)()) {
  fiber = Fiber{};
  std::byte* const bottom = pool.bottom(stack);
  const std::size_t size = pool.stack_bytes() - kStagger * static_cast<std::size_t>(stack % kStaggers);
  fiber.stack_bottom = bottom;
  fiber.stack_size = size;
#if QUERN_SIMT_ASAN
  // Fibers that were left in mid-flight never took their frames' red zones away.
  __asan_unpoison_memory_region(bottom, pool.stack_bytes());
#endif
#if QUERN_SIMT_ASM_SWITCH
  auto* top = reinterpret_cast<std::uint64_t*>(bottom + size);
  *--top = 0;  // the entry's return address (none), which leaves the stack aligned as after a call
  *--top = reinterpret_cast<std::uint64_t>(entry);  // where the switch returns to
  for (int reg = 0; reg < 6; ++reg) *--top = 0;
  fiber.stack_pointer = top;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = bottom;
  fiber.context.uc_stack.ss_size = size;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
#endif
}

void switch_fiber(Fiber& from, Fiber& to, [[maybe_unused]] bool last) {
#if QUERN_SIMT_ASAN
  switched_from = &from;
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.stack_bottom, to.stack_size);
#endif
#if QUERN_SIMT_ASM_SWITCH
  quern_simt_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
  after_switch(from.fake_stack);
}

void fiber_started() {
  after_switch(nullptr);
}

}  // namespace quern::simt
