#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "io/text.hpp"
#include "quern/error.hpp"
#include "quern/file.hpp"

namespace quern {
namespace {

std::string reason(int error) {
  return std::generic_category().message(error);
}

[[noreturn]] void fail_open(const std::string& path, int error) {
  const char* advice = error == ENOENT || error == ENOTDIR ? "check the path"
                       : error == EACCES                   ? "make it readable for this user"
                                                           : "check the file";
  fail_input("cannot open {}: {}; {}", path, reason(error), advice);
}

}  // namespace

InputFile::InputFile(const std::filesystem::path& path) : path_(quote_path(path)) {
  do {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  } while (descriptor_ < 0 && errno == EINTR);
  if (descriptor_ < 0) fail_open(path_, errno);
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (known && S_ISREG(status.st_mode)) size_ = static_cast<std::uint64_t>(status.st_size);
  if (known && S_ISDIR(status.st_mode)) {
    ::close(descriptor_);
    fail_input("cannot read {}: it is a folder; name a file", path_);
  }
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

std::size_t InputFile::read(std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t count = ::read(descriptor_, into.data() + done, into.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_device("cannot read {}: {}; check the disk", path_, reason(errno));
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

std::vector<std::byte> read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  InputFile file(path);
  const auto check = [&](std::uint64_t size) {
    if (size > max_bytes)
      fail_input("{} holds {} bytes or more, the limit is {}: is it the right file?", quote_path(path), size,
                 max_bytes);
  };
  check(file.size().value_or(0));
  // A size may be absent (a pipe) or stale (a file that grows), so reading goes on until the end is seen.
  constexpr std::size_t kChunk = 64 * 1024;
  std::vector<std::byte> content(static_cast<std::size_t>(file.size().value_or(kChunk)));
  std::size_t filled = file.read(content);
  while (filled == content.size()) {
    std::byte next{};
    if (file.read({&next, 1}) == 0) break;
    check(filled + 1);
    content.push_back(next);
    content.resize(std::max(content.size() + kChunk, content.size() * 2));
    filled += 1 + file.read(std::span(content).subspan(filled + 1));
    check(filled);
  }
  content.resize(filled);
  return content;
}

std::string read_text(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const std::vector<std::byte> bytes = read_file(path, max_bytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace quern
