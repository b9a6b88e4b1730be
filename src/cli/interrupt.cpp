#include "cli/interrupt.hpp"

#include <signal.h>

#include <atomic>

namespace quern::cli {
namespace {

std::atomic<int> caught_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);  // a handler may touch nothing else

void note(int signal) {
  caught_signal.store(signal, std::memory_order_relaxed);
}

void install(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  action.sa_flags = flags;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

}  // namespace

// SA_RESETHAND: the second signal finds the default handler, which kills.
InterruptGuard::InterruptGuard() {
  install(note, static_cast<int>(SA_RESETHAND | SA_RESTART));
}
InterruptGuard::~InterruptGuard() {
  install(SIG_DFL, 0);
}

int InterruptGuard::caught() noexcept {
  return caught_signal.load(std::memory_order_relaxed);
}

}  // namespace quern::cli
