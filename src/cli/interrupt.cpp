#include "cli/interrupt.hpp"

#include <signal.h>

#include <atomic>

#include "cli/screen.hpp"

namespace quern::cli {
namespace {

std::atomic<int> caught_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);  // a handler may touch nothing else

void note(int signal) {
  if (caught_signal.exchange(signal, std::memory_order_relaxed) == 0) return;
  // The second one kills, when this handler returns.
  Screen::give_back_in_handler();
  ::signal(signal, SIG_DFL);
  raise(signal);
}

void install(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  action.sa_flags = flags;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  install(note, SA_RESTART);
}
InterruptGuard::~InterruptGuard() {
  install(SIG_DFL, 0);
}

int InterruptGuard::caught() noexcept {
  return caught_signal.load(std::memory_order_relaxed);
}

}  // namespace quern::cli
