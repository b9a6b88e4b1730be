#include "quern/error.hpp"

#include <string_view>

namespace quern {

int exit_status(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::check:
      return 1;
    case ErrorKind::input:
      return 2;
    case ErrorKind::device:
    case ErrorKind::internal:
      break;
  }
  return 3;
}

namespace detail {

void fail_require(const char* expression, const char* file, int line, const std::string& detail) {
  std::string_view place(file);
  // Only the file's own name: the build machine's paths mean nothing to the reader.
  if (const auto slash = place.rfind('/'); slash != std::string_view::npos) place.remove_prefix(slash + 1);
  throw Error(ErrorKind::internal, fmt::format("{} ({} is false at {}:{})", detail, expression, place, line));
}

}  // namespace detail

}  // namespace quern
