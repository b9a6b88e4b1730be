#include "simt/symbolize.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

extern char** environ;

namespace quern::simt {

namespace {

/// Standard output of a program found on PATH; empty when it cannot be run.
std::string output_of(const std::vector<std::string>& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = -1;
  const bool started = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string text;
  if (started) {
    char buffer[4096];
    for (ssize_t count; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<std::size_t>(count));
    waitpid(child, nullptr, 0);
  }
  close(ends[0]);
  return text;
}

/// Headers whose lines say nothing about a kernel: its caller's line is wanted.
bool is_plumbing(std::string_view file) {
  for (const std::string_view part :
       {"kernels/platform/", "kernels/intrinsics/", "src/simt/", "/include/c++/"})
    if (file.find(part) != std::string_view::npos) return true;
  return false;
}

/// The compiler wrote paths relative to the source tree; addr2line puts the build directory before them.
std::string relative(std::string_view file) {
  for (const std::string_view root : {"/kernels/", "/tests/", "/src/"})
    if (const auto at = file.rfind(root); at != std::string_view::npos)
      return std::string(file.substr(at + 1));
  return std::string(file);
}

/// "file.cu:12" or "file.cu:12 (discriminator 3)"; line 0 where unknown.
SourceLine parse_place(std::string_view text) {
  const auto colon = text.rfind(':');
  SourceLine place;
  if (colon == std::string_view::npos || text.starts_with("??")) return place;
  const std::string_view digits = text.substr(colon + 1);
  std::from_chars(digits.data(), digits.data() + digits.size(), place.line);
  place.file = std::string(text.substr(0, colon));
  return place;
}

}  // namespace

std::map<std::uintptr_t, SourceLine> source_lines(const std::vector<std::uintptr_t>& addresses) {
  // Addresses by the file they belong to, as offsets in it.
  std::map<std::string, std::map<std::uintptr_t, std::uintptr_t>> modules;
  for (const std::uintptr_t address : addresses) {
    Dl_info info{};
    if (dladdr(reinterpret_cast<const void*>(address), &info) == 0 || info.dli_fname == nullptr) continue;
    const auto base = reinterpret_cast<std::uintptr_t>(info.dli_fbase);
    // The program's own name may be relative to a directory it has left.
    std::string file = access(info.dli_fname, R_OK) == 0 ? info.dli_fname : "/proc/self/exe";
    // Programs that are not position-independent are linked at their addresses.
    const bool absolute = base == 0x400000;
    modules[std::move(file)][absolute ? address : address - base] = address;
  }

  std::map<std::uintptr_t, SourceLine> lines;
  for (const auto& [file, offsets] : modules) {
    std::vector<std::string> command{"addr2line", "-a", "-i", "-e", file};
    for (const auto& [offset, address] : offsets) command.push_back(fmt::format("{:#x}", offset));
    const std::string text = output_of(command);
    std::uintptr_t current = 0;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const std::string_view line = std::string_view(text).substr(at, end - at);
      at = end + 1;
      if (line.starts_with("0x")) {
        std::uintptr_t offset = 0;
        std::from_chars(line.data() + 2, line.data() + line.size(), offset, 16);
        const auto found = offsets.find(offset);
        current = found == offsets.end() ? 0 : found->second;
        continue;
      }
      // Innermost frame first: the first line outside of the plumbing wins.
      const SourceLine place = parse_place(line);
      if (current == 0 || place.line == 0 || is_plumbing(place.file) || lines.contains(current)) continue;
      lines[current] = SourceLine{relative(place.file), place.line};
    }
  }
  return lines;
}

}  // namespace quern::simt
