#include "cli/screen.hpp"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "cli/console.hpp"

namespace quern::cli {
namespace {

// Alternate screen, cleared, no cursor; and back.
constexpr std::string_view kBorrow = "\x1b[?1049h\x1b[2J\x1b[H\x1b[?25l";
// First what a picture that a signal cut off leaves behind: a colour, and lines that do not wrap. Then
// cleared: a multiplexer whose window grew meanwhile would show what was drawn.
constexpr std::string_view kGiveBack = "\x1b[m\x1b[?7h\x1b[H\x1b[J\x1b[?25h\x1b[?1049l";

std::atomic<bool> borrowed{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // handlers touch it

/// Async-signal-safe. A terminal that is gone is nobody's loss.
void put(std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

/// Signals that kill unless someone else looks after them, as InterruptGuard does after SIGINT and SIGTERM.
constexpr std::array kKilling{SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGPIPE};

struct Handlers {
  std::array<struct sigaction, kKilling.size()> before{};
  struct sigaction stop_before {};
};
Handlers handlers;

void die(int signal) {
  Screen::give_back_in_handler();
  ::signal(signal, SIG_DFL);
  raise(signal);  // delivered when this handler returns
}

void stop(int) {
  const int error = errno;
  const bool drawn = borrowed.load(std::memory_order_relaxed);
  if (drawn) put(kGiveBack);
  raise(SIGSTOP);
  // Here the process goes on.
  if (drawn) put(kBorrow);
  errno = error;
}

}  // namespace

Screen::Screen() {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kKilling.size(); ++i) {
    sigaction(kKilling[i], nullptr, &handlers.before[i]);
    if (handlers.before[i].sa_handler != SIG_DFL) continue;  // ignored, as by nohup, or another's
    action.sa_handler = die;
    sigaction(kKilling[i], &action, nullptr);
  }
  action.sa_handler = stop;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTSTP, nullptr, &handlers.stop_before);
  if (handlers.stop_before.sa_handler == SIG_DFL) sigaction(SIGTSTP, &action, nullptr);
  put(kBorrow);
  borrowed.store(true);
}

Screen::~Screen() {
  give_back_in_handler();
  for (std::size_t i = 0; i < kKilling.size(); ++i) sigaction(kKilling[i], &handlers.before[i], nullptr);
  sigaction(SIGTSTP, &handlers.stop_before, nullptr);
}

void Screen::give_back_in_handler() noexcept {
  if (borrowed.exchange(false)) put(kGiveBack);
}

std::string Screen::absence() {
  if (!stderr_is_terminal()) return "standard error is no terminal";
  const char* const term = std::getenv("TERM");
  if (term == nullptr || *term == '\0' || std::string_view(term) == "dumb")
    return "TERM names no terminal that can be drawn on";
  return "";
}

Screen::Size Screen::size() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

void Screen::draw(const std::vector<std::string>& lines, const Size& size) {
  // From the top left. A line is erased before it is written: a cursor that stands on the last column would
  // erase what is there. Lines wider than a window that has just become narrower are cut off instead of
  // wrapped (DECAWM off while drawing).
  std::string frame = "\x1b[?7l\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) frame += "\r\n";
    frame += "\x1b[K";
    frame += lines[i];
  }
  if (lines.size() < size.rows) frame += "\r\n\x1b[J";
  frame += "\x1b[?7h";
  put(frame);
}

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    std::string text(value);
    std::erase(text, '-');
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text.find("utf8") != std::string::npos;
  }
  return false;
}

bool colours_wanted() {
  const char* const value = std::getenv("NO_COLOR");
  return value == nullptr || *value == '\0';
}

}  // namespace quern::cli
