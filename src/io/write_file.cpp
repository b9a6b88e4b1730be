#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "io/text.hpp"
#include "quern/error.hpp"
#include "quern/file.hpp"

namespace quern {
namespace {

template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result == -EINTR) result = call();
  return result;
}

class SystemFiles final : public FileSystem {
 public:
  int open_new(const std::string& path, unsigned mode) override {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, static_cast<mode_t>(mode));
    return file < 0 ? -errno : file;
  }
  int open_directory(const std::string& path) override {
    const int file = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return file < 0 ? -errno : file;
  }
  std::ptrdiff_t write(int file, std::span<const std::byte> bytes) override {
    const ssize_t count = ::write(file, bytes.data(), bytes.size());
    return count < 0 ? -errno : count;
  }
  int sync(int file) override { return ::fsync(file) != 0 ? -errno : 0; }
  int close(int file) override { return ::close(file) != 0 ? -errno : 0; }
  int rename(const std::string& from, const std::string& to) override {
    return std::rename(from.c_str(), to.c_str()) != 0 ? -errno : 0;
  }
  int remove(const std::string& path) override { return ::unlink(path.c_str()) != 0 ? -errno : 0; }
};

const char* advice(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "the disk is full: free space, or choose another folder";
    case EFBIG:
      return "the file is too large for this disk or the limit set by ulimit -f";
    case EACCES:
    case EPERM:
      return "choose a folder that this user may write to";
    case EROFS:
      return "the disk is mounted read-only: choose another folder";
    case ENOENT:
    case ENOTDIR:
      return "create the folder first";
    case EISDIR:
      return "it is a folder: name a file";
    case ENAMETOOLONG:
      return "choose a shorter name";
    case EMFILE:
    case ENFILE:
      return "too many files are open: raise the limit (ulimit -n)";
    default:
      return "check the disk";
  }
}

[[noreturn]] void fail_write(const std::filesystem::path& path, const char* step, int error) {
  fail_device("cannot write {}: {} while {}; nothing there was changed; {}", quote_path(path),
              std::generic_category().message(error), step, advice(error));
}

/// The temporary file until it has its final name; removed when that never happens.
class TemporaryFile {
 public:
  TemporaryFile(const std::filesystem::path& target, unsigned mode, FileSystem& files)
      : files_(files), target_(target) {
    constexpr std::size_t kLongestStem = 200;  // leaves room for the suffix within a name's 255 bytes
    static std::atomic<unsigned> counter{0};
    const std::filesystem::path folder = target.parent_path();
    const std::string stem = target.filename().string().substr(0, kLongestStem);
    do {
      path_ = (folder / fmt::format(".{}.tmp-{}-{}", stem, ::getpid(), counter++)).string();
      file_ = retry([&] { return files_.open_new(path_, mode); });
    } while (file_ == -EEXIST);
    if (file_ < 0) fail_write(target_, "creating it", -file_);
    exists_ = true;
  }

  ~TemporaryFile() {
    if (file_ >= 0) files_.close(file_);
    if (exists_) files_.remove(path_);
  }

  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::ptrdiff_t count = retry([&] { return files_.write(file_, bytes); });
      if (count < 0) fail_write(target_, "writing", static_cast<int>(-count));
      if (count == 0) fail_write(target_, "writing", EIO);  // no progress and no reason: do not spin
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }

  void commit() {
    if (const int error = retry([&] { return files_.sync(file_); }); error < 0)
      fail_write(target_, "syncing", -error);
    // Network file systems report a full disk as late as here.
    const int closed = files_.close(std::exchange(file_, -1));
    if (closed < 0 && closed != -EINTR) fail_write(target_, "closing it", -closed);
    if (const int error = files_.rename(path_, target_.string()); error < 0)
      fail_write(target_, "renaming", -error);
    exists_ = false;
  }

 private:
  FileSystem& files_;
  std::filesystem::path target_;
  std::string path_;
  int file_ = -1;
  bool exists_ = false;
};

/// Makes the rename itself durable. The new content is in place already, so a failure says that.
void sync_folder(const std::filesystem::path& target, FileSystem& files) {
  const int folder = retry([&] { return files.open_directory(target.parent_path().string()); });
  // A folder that may be written to but not read cannot be opened, and some file systems cannot sync one.
  if (folder == -EACCES) return;
  int error = folder < 0 ? folder : retry([&] { return files.sync(folder); });
  if (folder >= 0) files.close(folder);
  if (error == -EINVAL || error == -ENOTSUP) error = 0;
  if (error < 0)
    fail_device("{} was written, but might not survive a power cut: {} while syncing its folder; {}",
                quote_path(target), std::generic_category().message(-error), advice(-error));
}

}  // namespace

FileSystem& system_files() {
  static SystemFiles files;
  return files;
}

void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::span<const std::byte>> parts, FileSystem& files) {
  std::error_code ignored;
  std::filesystem::path target = std::filesystem::canonical(path, ignored);  // follows links; fails if new
  if (ignored) target = path.has_parent_path() ? path : "." / path;
  const auto status = std::filesystem::status(target, ignored);
  if (std::filesystem::is_directory(status)) fail_write(path, "creating it", EISDIR);
  const bool exists = std::filesystem::is_regular_file(status);
  if (std::filesystem::exists(status) && !exists)  // renaming over /dev/null would destroy it for everybody
    fail_device("cannot write {}: it is a device or a pipe; name a regular file", quote_path(path));
  // The permissions of a file that is replaced stay, as far as the umask lets them.
  const unsigned mode = exists ? static_cast<unsigned>(status.permissions()) & 0777u : 0666u;

  TemporaryFile temporary(target, mode, files);
  for (const std::span<const std::byte> part : parts) temporary.write(part);
  temporary.commit();
  sync_folder(target, files);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text, FileSystem& files) {
  const std::span<const std::byte> part = std::as_bytes(std::span(text));
  write_file_atomically(path, {&part, 1}, files);
}

}  // namespace quern
