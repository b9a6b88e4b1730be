#include "cli/console.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <sstream>

#include "io/text.hpp"

namespace quern::cli {
namespace {

struct Invocation {
  std::vector<std::string> arguments;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

Invocation& invocation() {
  static Invocation instance;
  return instance;
}

}  // namespace

void remember_command_line(int argc, char** argv) {
  invocation().arguments.assign(argv, argv + argc);
}

const std::vector<std::string>& command_line() {
  return invocation().arguments;
}

namespace {

/// When the launcher became this program, in seconds since the machine started; 0 without one.
double launched() {
  const char* text = std::getenv("QUERN_LAUNCHED");
  double seconds = 0;
  if (text != nullptr && std::istringstream(text) >> seconds && seconds > 0) return seconds;
  return 0;
}

}  // namespace

double seconds_since_start() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  // The second field is the program's name, which may hold anything; the 22nd is the start, in clock ticks.
  text.erase(0, std::min(text.size(), text.rfind(')') + 1));
  std::istringstream fields(text);
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double ticks = 0;
  timespec now{};
  if (fields >> ticks && clock_gettime(CLOCK_BOOTTIME, &now) == 0) {
    const double uptime = static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
    const double started = ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
    const double later = launched();
    return uptime - (later > started && later <= uptime ? later : started);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - invocation().start).count();
}

double peak_rss_mib() {
  std::ifstream file("/proc/self/status");
  std::string word;
  double kib = 0;
  while (file >> word)
    if (word == "VmHWM:" && file >> kib) return kib / 1024;
  return 0;
}

void complain(std::string_view message) {
  std::fflush(stdout);
  fmt::print(stderr, "quern: {}\n", printable(message));
}

bool stdout_is_terminal() {
  return isatty(STDOUT_FILENO) == 1;
}
bool stderr_is_terminal() {
  return isatty(STDERR_FILENO) == 1;
}

std::size_t terminal_columns(std::FILE* stream) {
  winsize size{};
  return ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string format_table(const std::vector<std::string>& header,
                         const std::vector<std::vector<std::string>>& rows) {
  std::vector<bool> right(header.size());
  std::vector<std::vector<std::string>> lines;
  lines.push_back(header);
  for (std::size_t column = 0; column < header.size(); ++column) {
    right[column] = header[column].starts_with('>');
    if (right[column]) lines[0][column].erase(0, 1);
  }
  lines.insert(lines.end(), rows.begin(), rows.end());
  std::vector<std::size_t> widths(header.size());
  for (const auto& line : lines)
    for (std::size_t column = 0; column < line.size(); ++column)
      widths[column] = std::max(widths[column], display_width(line[column]));

  std::string out;
  for (const auto& line : lines) {
    std::string text;
    for (std::size_t column = 0; column < header.size(); ++column) {
      const std::string cell = column < line.size() ? line[column] : "";
      const std::string gap(widths[column] - display_width(cell), ' ');
      if (column > 0) text += "  ";
      text += right[column] ? gap : cell;
      text += right[column] ? cell : gap;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text;
    out += '\n';
  }
  return out;
}

}  // namespace quern::cli
