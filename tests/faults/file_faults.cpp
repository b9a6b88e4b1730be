/// A library to be preloaded: makes one system call of a program's file writing fail, write too little, or be
/// the program's last. Calls are counted from 0 over everything below one folder.
///
///   QUERN_FAULT_FOLDER   the folder (an absolute path)
///   QUERN_FAULT_CALL     number of the call that fails
///   QUERN_FAULT_KIND     once:ERRNO   this call fails
///                        stay:ERRNO   this call and all that follow fail, as on a full disk
///                        short        this write takes half of its bytes
///                        kill         the process dies in this call; a write, after half of its bytes
///   QUERN_FAULT_MARK     a file that is made when the fault strikes

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

/// What the call shall do.
enum class Fate { normal, fail, take_half, die };

struct Settings {
  const char* folder = std::getenv("QUERN_FAULT_FOLDER");
  const char* kind = std::getenv("QUERN_FAULT_KIND");
  const char* mark = std::getenv("QUERN_FAULT_MARK");
  long call = std::getenv("QUERN_FAULT_CALL") ? std::atol(std::getenv("QUERN_FAULT_CALL")) : -1;
};

const Settings& settings() {
  static const Settings value;
  return value;
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

constexpr int kMostFiles = 1024;
bool watched[kMostFiles];
long calls = 0;

bool below_folder(const char* path) {
  const char* folder = settings().folder;
  return folder != nullptr && std::strncmp(path, folder, std::strlen(folder)) == 0;
}

bool is_watched(int file) {
  return file >= 0 && file < kMostFiles && watched[file];
}

void leave_mark() {
  if (settings().mark == nullptr) return;
  const int file = real<int(const char*, int, ...)>("open")(settings().mark, O_WRONLY | O_CREAT, 0600);
  if (file >= 0) real<int(int)>("close")(file);
}

Fate next_call() {
  const long number = calls++;
  const Settings& s = settings();
  if (s.kind == nullptr || s.call < 0) return Fate::normal;
  const bool stays = std::strncmp(s.kind, "stay:", 5) == 0;
  if (number != s.call && !(stays && number > s.call)) return Fate::normal;
  leave_mark();
  if (std::strcmp(s.kind, "short") == 0) return Fate::take_half;
  if (std::strcmp(s.kind, "kill") == 0) return Fate::die;
  errno = std::atoi(s.kind + 5);
  return Fate::fail;
}

/// For calls that write nothing: whether to fail.
bool fails() {
  const Fate fate = next_call();
  if (fate == Fate::die) raise(SIGKILL);
  return fate == Fate::fail;
}

void watch(int file, const char* path) {
  if (file >= 0 && file < kMostFiles) watched[file] = below_folder(path);
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  const bool counts = below_folder(path) && (flags & (O_CREAT | O_DIRECTORY)) != 0;
  if (counts && fails()) return -1;
  const int file = real<int(const char*, int, ...)>("open")(path, flags, mode);
  watch(file, path);
  return file;
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return open(path, flags, mode);
}

FILE* fopen(const char* path, const char* mode) {
  const bool writes = std::strpbrk(mode, "wa+") != nullptr;
  if (below_folder(path) && writes && fails()) return nullptr;
  FILE* file = real<FILE*(const char*, const char*)>("fopen")(path, mode);
  if (file != nullptr && writes) watch(fileno(file), path);
  return file;
}
FILE* fopen64(const char* path, const char* mode) {
  return fopen(path, mode);
}

ssize_t write(int file, const void* data, size_t bytes) {
  const auto real_write = real<ssize_t(int, const void*, size_t)>("write");
  if (!is_watched(file)) return real_write(file, data, bytes);
  switch (next_call()) {
    case Fate::normal:
      break;
    case Fate::fail:
      return -1;
    case Fate::take_half:
      return real_write(file, data, bytes > 1 ? bytes / 2 : bytes);
    case Fate::die:
      if (real_write(file, data, bytes / 2) >= 0) raise(SIGKILL);
      raise(SIGKILL);
  }
  return real_write(file, data, bytes);
}

ssize_t writev(int file, const struct iovec* parts, int count) {
  if (!is_watched(file)) return real<ssize_t(int, const struct iovec*, int)>("writev")(file, parts, count);
  // One part at a time: a short count is what writev may return.
  for (int i = 0; i < count; ++i)
    if (parts[i].iov_len > 0) return write(file, parts[i].iov_base, parts[i].iov_len);
  return 0;
}

int fsync(int file) {
  if (is_watched(file) && fails()) return -1;
  return real<int(int)>("fsync")(file);
}

int close(int file) {
  if (is_watched(file)) {
    watched[file] = false;
    if (fails()) {
      const int error = errno;
      real<int(int)>("close")(file);
      errno = error;
      return -1;
    }
  }
  return real<int(int)>("close")(file);
}

int rename(const char* from, const char* to) {
  if (below_folder(to) && fails()) return -1;
  return real<int(const char*, const char*)>("rename")(from, to);
}

int mkdir(const char* path, mode_t mode) {
  if (below_folder(path) && fails()) return -1;
  return real<int(const char*, mode_t)>("mkdir")(path, mode);
}

}  // extern "C"
