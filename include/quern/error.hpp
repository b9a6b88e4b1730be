#pragma once

/// Errors. Every failure Quern reports is an `Error`; its kind decides the process's exit status.
/// A message says what was wrong, where, and what to do about it, in one line.

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace quern {

enum class ErrorKind {
  check,     ///< the answer is no: a check failed, an accuracy floor was missed. Exit status 1.
  input,     ///< bad usage or bad input: files, specs, flags. Exit status 2.
  device,    ///< the device or the system failed: no GPU, out of memory, disk full. Exit status 3.
  internal,  ///< an invariant of Quern itself was broken: a bug. Exit status 3.
};

/// Exit status of a process that ends with an error of this kind.
int exit_status(ErrorKind kind) noexcept;

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

template <class... Args>
[[noreturn]] void fail_input(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::input, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
[[noreturn]] void fail_device(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::device, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
[[noreturn]] void fail_check(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::check, fmt::format(format, std::forward<Args>(args)...));
}

namespace detail {
[[noreturn]] void fail_require(const char* expression, const char* file, int line, const std::string& detail);
}  // namespace detail

}  // namespace quern

/// An invariant that is always checked, in every build type. The arguments after the expression are a
/// format string and its values; they are evaluated only when the expression is false.
#define QUERN_REQUIRE(expression, ...)                                                            \
  do {                                                                                            \
    if (!(expression)) [[unlikely]]                                                               \
      ::quern::detail::fail_require(#expression, __FILE__, __LINE__, ::fmt::format(__VA_ARGS__)); \
  } while (false)
