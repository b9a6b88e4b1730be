// `quern train --tui` on a pseudo-terminal: what it draws, and that it gives the terminal back.

#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>

#include <functional>
#include <map>

#include "cli/console.hpp"
#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kBorrow = "\x1b[?1049h", kGiveBack = "\x1b[?25h\x1b[?1049l";

/// `quern` with standard error on a terminal of its own; standard output goes to the file "stdout".
class OnTerminal {
 public:
  OnTerminal(const std::vector<std::string>& arguments, const std::filesystem::path& folder,
             const std::map<std::string, std::string>& variables, unsigned short columns = 80,
             unsigned short rows = 24)
      : folder_(folder) {
    std::vector<std::string> words{QUERN_BINARY};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string out = (folder / "stdout").string();
    winsize size{rows, columns, 0, 0};
    child_ = forkpty(&terminal_, nullptr, nullptr, &size);
    if (child_ != 0) return;
    for (const char* name : {"LC_ALL", "LC_CTYPE", "NO_COLOR"}) unsetenv(name);
    setenv("TERM", "xterm-256color", 1);
    setenv("LANG", "C.UTF-8", 1);
    for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
    const int file = open(out.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (chdir(folder.c_str()) != 0 || dup2(file, 1) < 0) _exit(126);
    execv(argv[0], argv.data());
    _exit(127);
  }
  ~OnTerminal() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    if (terminal_ >= 0) close(terminal_);
  }
  OnTerminal(const OnTerminal&) = delete;
  OnTerminal& operator=(const OnTerminal&) = delete;

  bool there() const { return child_ > 0; }
  const std::string& shown() const { return shown_; }

  /// Reads until the text shows `part` after its first `from` bytes; false when the program ends without it.
  bool read_until(std::string_view part, std::size_t from = 0) {
    while (shown_.find(part, from) == std::string::npos)
      if (!read_some()) return false;
    return true;
  }
  void signal(int number) const { kill(child_, number); }
  void resize(unsigned short columns, unsigned short rows) const {
    const winsize size{rows, columns, 0, 0};
    ioctl(terminal_, TIOCSWINSZ, &size);
  }
  /// Waits until it has stopped, and reads meanwhile: who writes to a full terminal hears no signal.
  bool stopped() {
    for (;;) {
      int status = 0;
      const pid_t changed = waitpid(child_, &status, WUNTRACED | WNOHANG);
      if (changed != 0) return changed == child_ && WIFSTOPPED(status);
      pollfd ready{terminal_, POLLIN, 0};
      if (poll(&ready, 1, /*milliseconds=*/10) > 0) read_some();
    }
  }
  test::Outcome wait() {
    while (read_some()) {
    }
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = 0;
    test::Outcome outcome;
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    outcome.out = test::read_text(folder_ / "stdout");
    outcome.err = shown_;
    return outcome;
  }

 private:
  /// Linux answers EIO when nobody has the other end any more.
  bool read_some() {
    char buffer[4096];
    const ssize_t count = read(terminal_, buffer, sizeof buffer);
    if (count <= 0) return false;
    shown_.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  std::filesystem::path folder_;
  int terminal_ = -1;
  pid_t child_ = -1;
  std::string shown_;
};

/// Whether the terminal is as it was: borrowed as often as given back, and the cursor shown at last.
void expect_given_back(const std::string& shown) {
  const auto count = [&](std::string_view part) {
    int found = 0;
    for (std::size_t at = 0; (at = shown.find(part, at)) != std::string::npos; at += part.size()) ++found;
    return found;
  };
  EXPECT_GE(count(kBorrow), 1) << shown;
  EXPECT_EQ(count(kBorrow), count(kGiveBack)) << shown;
  EXPECT_GT(shown.rfind(kGiveBack) + 1, shown.rfind("\x1b[?25l") + 1);
  EXPECT_GT(shown.rfind("\x1b[?7h") + 1, shown.rfind("\x1b[?7l") + 1);
}

/// What comes after the picture: on the terminal itself.
std::string after_view(const std::string& shown) {
  const std::size_t end = shown.rfind(kGiveBack);
  return end == std::string::npos ? "" : shown.substr(end + kGiveBack.size());
}

class Tui : public test::Cli {
 protected:
  /// Long enough for several pictures.
  static std::vector<std::string> long_run(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"--tui", "--epochs", "400", "--schedule", "constant", "--no-save"};
    words.insert(words.end(), more.begin(), more.end());
    return train(words);
  }
  /// Goes on until it is stopped.
  static std::vector<std::string> endless_run(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"--tui", "--epochs", "900000", "--schedule", "constant", "--no-save"};
    words.insert(words.end(), more.begin(), more.end());
    return train(words);
  }
};

#define SKIP_WITHOUT_TERMINALS(terminal) \
  if (!(terminal).there()) GTEST_SKIP() << "no pseudo-terminal here"

TEST_F(Tui, DrawsGivesTheTerminalBackAndChangesNoWeight) {
  std::vector<std::string> words = long_run({"--json"});
  OnTerminal terminal(words, folder_.path(), {});
  SKIP_WITHOUT_TERMINALS(terminal);
  const test::Outcome outcome = terminal.wait();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  expect_given_back(outcome.err);
  for (const char* part : {"small: ", "epoch 1/400", "run ", " images/s", "learning rate 0.01", "accuracy",
                           "measured in every 50th step", "conv.", "\xE2\x96\x88"})
    EXPECT_THAT(outcome.err, HasSubstr(part));
  // The lines of the epochs were not lost under the picture.
  const std::string after = after_view(outcome.err);
  EXPECT_THAT(after, HasSubstr("epoch 1/400  loss"));
  EXPECT_THAT(after, HasSubstr("epoch 400/400  loss"));
  EXPECT_THAT(after, HasSubstr("test accuracy"));

  const nlohmann::json with = last_line_json(outcome);
  words.erase(std::find(words.begin(), words.end(), "--tui"));
  const nlohmann::json without = last_line_json(quern(words));
  for (const char* key : {"weights_hash", "test_accuracy", "test_loss", "steps"})
    EXPECT_EQ(with[key], without[key]) << key;
}

TEST_F(Tui, IsGivenBackAfterCtrlC) {
  OnTerminal terminal(endless_run(), folder_.path(), {});
  SKIP_WITHOUT_TERMINALS(terminal);
  ASSERT_TRUE(terminal.read_until("images/s"));
  terminal.signal(SIGINT);
  const test::Outcome outcome = terminal.wait();
  EXPECT_EQ(outcome.status, 130);
  expect_given_back(outcome.err);
  EXPECT_THAT(outcome.out, HasSubstr("interrupted in epoch"));
}

TEST_F(Tui, IsGivenBackAfterAnError) {
  OnTerminal terminal(endless_run({"--lr", "1e30", "--optimizer", "sgd"}), folder_.path(), {});
  SKIP_WITHOUT_TERMINALS(terminal);
  const test::Outcome outcome = terminal.wait();
  EXPECT_EQ(outcome.status, 1);
  expect_given_back(outcome.err);
  EXPECT_THAT(after_view(outcome.err), HasSubstr("quern: epoch 1, step "));
}

TEST_F(Tui, IsGivenBackBySignalsThatKill) {
  for (const int number : {SIGHUP, SIGQUIT, SIGABRT, SIGSEGV}) {
    OnTerminal terminal(endless_run(), folder_.path(), {});
    SKIP_WITHOUT_TERMINALS(terminal);
    ASSERT_TRUE(terminal.read_until("images/s"));
    terminal.signal(number);
    const test::Outcome outcome = terminal.wait();
    EXPECT_EQ(outcome.status, 128 + number);
    expect_given_back(outcome.err);
  }
}

TEST_F(Tui, IsGivenBackWhileStopped) {
  OnTerminal terminal(endless_run(), folder_.path(), {});
  SKIP_WITHOUT_TERMINALS(terminal);
  ASSERT_TRUE(terminal.read_until("images/s"));
  terminal.signal(SIGTSTP);
  ASSERT_TRUE(terminal.stopped());
  ASSERT_TRUE(terminal.read_until(kGiveBack));
  const std::size_t seen = terminal.shown().size();
  terminal.signal(SIGCONT);
  ASSERT_TRUE(terminal.read_until(kBorrow, seen));
  ASSERT_TRUE(terminal.read_until("images/s", seen));
  terminal.signal(SIGTERM);
  const test::Outcome outcome = terminal.wait();
  EXPECT_EQ(outcome.status, 143);
  expect_given_back(outcome.err);
}

TEST_F(Tui, FollowsTheWindow) {
  OnTerminal terminal(endless_run(), folder_.path(), {{"NO_COLOR", "1"}}, 120, 40);
  SKIP_WITHOUT_TERMINALS(terminal);
  ASSERT_TRUE(terminal.read_until("images/s"));
  terminal.resize(40, 12);
  // A picture may be under way; the third from here is of the new size.
  const std::string begin = "\x1b[?7l\x1b[H", end = "\x1b[?7h";
  std::size_t at = terminal.shown().size();
  for (int frame = 0; frame < 3; ++frame) {
    ASSERT_TRUE(terminal.read_until(begin, at));
    at = terminal.shown().find(begin, at) + begin.size();
    ASSERT_TRUE(terminal.read_until(end, at));
  }
  std::istringstream frame(terminal.shown().substr(at, terminal.shown().find(end, at) - at));
  int lines = 0;
  for (std::string line; std::getline(frame, line); ++lines) {
    std::erase(line, '\r');
    for (const std::string erase : {"\x1b[K", "\x1b[J"})
      if (line.starts_with(erase)) line.erase(0, erase.size());
    EXPECT_LE(cli::display_width(line), 40u) << line;
    EXPECT_THAT(line, Not(HasSubstr("\x1b"))) << "colours in spite of NO_COLOR";
  }
  EXPECT_GT(lines, 3);
  EXPECT_LE(lines, 12);
  terminal.signal(SIGINT);
  EXPECT_EQ(terminal.wait().status, 130);
}

TEST_F(Tui, DrawsInAsciiWhereTheLocaleIsNotUtf8) {
  OnTerminal terminal(long_run({"--json"}), folder_.path(), {{"LANG", "C"}});
  SKIP_WITHOUT_TERMINALS(terminal);
  const test::Outcome outcome = terminal.wait();
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("####"));
  EXPECT_TRUE(std::all_of(outcome.err.begin(), outcome.err.end(), [](char c) { return (c & 0x80) == 0; }));
}

TEST_F(Tui, IsLeftOutWhereThereIsNoTerminalToDrawOn) {
  const test::Outcome piped = quern(train({"--tui", "--no-save"}));
  EXPECT_EQ(piped.status, 0);
  EXPECT_THAT(piped.out, HasSubstr("note: --tui draws on a terminal, but standard error is no terminal"));
  EXPECT_THAT(piped.out + piped.err, Not(HasSubstr("\x1b")));
  OnTerminal dumb(train({"--tui", "--no-save", "--json"}), folder_.path(), {{"TERM", "dumb"}});
  SKIP_WITHOUT_TERMINALS(dumb);
  const test::Outcome outcome = dumb.wait();
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("note: --tui draws on a terminal, but TERM"));
  EXPECT_THAT(outcome.err, Not(HasSubstr(std::string(kBorrow))));
  expect_bad_usage(train({"--tui", "--quiet"}), {"--tui and --quiet contradict each other"});
}

TEST_F(Tui, ChangesNothingUnderTheLiveCheck) {
  OnTerminal terminal(train({"--tui", "--no-save", "--json", "--check-every", "5"}), folder_.path(), {});
  SKIP_WITHOUT_TERMINALS(terminal);
  const test::Outcome outcome = terminal.wait();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("from the plan, not measured"));
  EXPECT_EQ(last_line_json(outcome)["check"]["failure"], nullptr);
}

}  // namespace
}  // namespace quern
