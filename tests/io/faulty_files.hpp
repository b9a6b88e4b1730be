#pragma once

/// A file system that fails on demand.

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string>
#include <vector>

#include "quern/file.hpp"

namespace quern::test {

/// The real file system, except that one call fails, writes are short, interrupted, or run into a full disk.
/// Removing files always works: it is what failures are cleaned up with.
class FaultyFiles final : public FileSystem {
 public:
  int fail_call = -1;  ///< the call, from 0, that fails
  int error = ENOSPC;  ///< with this errno
  std::size_t most_bytes_per_write = std::numeric_limits<std::size_t>::max();
  std::size_t capacity = std::numeric_limits<std::size_t>::max();  ///< bytes until the disk is full
  int interrupt_every = 0;  ///< every so many writes return EINTR first
  int names_taken = 0;      ///< so many calls of open_new find a file there already

  int calls = 0;
  int open_files = 0;
  std::string failed;            ///< the name of the call that failed
  std::vector<std::string> log;  ///< names of all calls but remove

  int open_new(const std::string& path, unsigned mode) override {
    if (fails("open_new")) return -error;
    if (names_taken-- > 0) return -EEXIST;
    return opened(system_files().open_new(path, mode));
  }
  int open_directory(const std::string& path) override {
    if (fails("open_directory")) return -error;
    return opened(system_files().open_directory(path));
  }
  std::ptrdiff_t write(int file, std::span<const std::byte> bytes) override {
    if (fails("write")) return -error;
    if (interrupt_every > 0 && ++writes_ % interrupt_every == 0) return -EINTR;
    if (capacity == 0) return -ENOSPC;
    const std::size_t count = std::min({bytes.size(), most_bytes_per_write, capacity});
    capacity -= count;
    return system_files().write(file, bytes.first(count));
  }
  int sync(int file) override { return fails("sync") ? -error : system_files().sync(file); }
  int close(int file) override {
    --open_files;
    const int result = system_files().close(file);
    return fails("close") ? -error : result;
  }
  int rename(const std::string& from, const std::string& to) override {
    return fails("rename") ? -error : system_files().rename(from, to);
  }
  int remove(const std::string& path) override { return system_files().remove(path); }

 private:
  bool fails(const char* name) {
    log.emplace_back(name);
    if (calls++ != fail_call) return false;
    failed = name;
    return true;
  }
  int opened(int file) {
    if (file >= 0) ++open_files;
    return file;
  }

  int writes_ = 0;
};

}  // namespace quern::test
