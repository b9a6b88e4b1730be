#pragma once

/// NVIDIA's libraries are opened when something first needs them, not when the program starts: one program
/// then runs on machines with them, without them, and without a driver.

#include <optional>
#include <string>
#include <vector>

namespace quern {

/// Where to look for a library. `folders` may be empty strings' worth of nothing; the order is preference.
struct LibrarySearch {
  std::string file;                  ///< "libcudnn.so.9"
  std::string variable;              ///< environment variable that names folders, separated by ':'
  std::vector<std::string> folders;  ///< found when the build was configured
  std::string wheel;                 ///< the Python package that holds it: "cudnn" for nvidia/cudnn/lib
  std::string hint;                  ///< what to install
};

/// The paths to try, in order: the folders of the environment variable alone where it is set; else the bare
/// name (the dynamic linker's own search), the configured folders, and the site-packages of the active
/// virtual environment and of every python3 on PATH.
std::vector<std::string> library_candidates(const LibrarySearch& search);

/// A library that stays open until the process ends: its threads and exit handlers may outlive any owner.
class DynamicLibrary {
 public:
  /// Tries the candidates. Fails with a sentence: "libcudnn.so.9 not found: ...".
  static std::optional<DynamicLibrary> open(const LibrarySearch& search, std::string& failure);

  /// Address of an exported function; null when this version lacks it.
  void* symbol(const char* name) const;
  const std::string& path() const noexcept { return path_; }

 private:
  DynamicLibrary(void* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  void* handle_;
  std::string path_;
};

}  // namespace quern
