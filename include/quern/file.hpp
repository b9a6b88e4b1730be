#pragma once

/// Files: reading with a limit, and writing that never spoils what was there before.
///
/// A file that cannot be read is an input error (exit status 2); one that cannot be written is a device error
/// (exit status 3), for then the disk, its permissions or its free space are at fault.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

/// The system calls an atomic write is made of, so that tests can make any of them fail. Each returns a
/// descriptor, a count or 0 when it worked, and a negative errno when it did not.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  /// Creates a file that must not exist yet, for writing; its permissions are `mode` less the umask.
  virtual int open_new(const std::string& path, unsigned mode) = 0;
  virtual int open_directory(const std::string& path) = 0;
  /// May write fewer bytes than asked for.
  virtual std::ptrdiff_t write(int file, std::span<const std::byte> bytes) = 0;
  /// Returns when what was written is on the disk.
  virtual int sync(int file) = 0;
  /// The descriptor is gone afterwards, also when an error is returned.
  virtual int close(int file) = 0;
  /// Replaces `to` in one step.
  virtual int rename(const std::string& from, const std::string& to) = 0;
  virtual int remove(const std::string& path) = 0;
};

/// The real one.
FileSystem& system_files();

/// Writes the parts, one after the other, as the new content of `path`. They go to a temporary file in the
/// same folder, which is synced, renamed over `path`, and made durable by syncing the folder: at every
/// moment, a power cut and kill -9 included, `path` holds the old content or the new, both complete. When it
/// throws, the temporary file is gone; what a killed process leaves (".NAME.tmp-PID-N") may be deleted at any
/// time. A symbolic link at `path` stays, and the file it points to is replaced. Throws a device error that
/// names the path, the reason and what to do.
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::span<const std::byte>> parts,
                           FileSystem& files = system_files());
void write_file_atomically(const std::filesystem::path& path, std::string_view text,
                           FileSystem& files = system_files());

/// A file opened for reading: a regular file, a pipe or a character device.
/// The constructor throws an input error if there is none, it is a folder, or it may not be read.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Bytes in a regular file; nothing for a pipe.
  std::optional<std::uint64_t> size() const noexcept { return size_; }
  /// Fills `into` from where the last read ended; returns fewer bytes only at the end of the file.
  std::size_t read(std::span<std::byte> into);

 private:
  std::string path_;
  int descriptor_ = -1;
  std::optional<std::uint64_t> size_;
};

/// The whole content. Throws an input error for a file of more than `max_bytes`, before it is read.
std::vector<std::byte> read_file(const std::filesystem::path& path, std::uint64_t max_bytes);
/// The same, as text.
std::string read_text(const std::filesystem::path& path, std::uint64_t max_bytes);

}  // namespace quern
