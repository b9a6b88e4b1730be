#include "providers/nvidia/dynamic_library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>

namespace quern {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(':', begin), list.size());
    if (end > begin) parts.emplace_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

/// lib/python3.X/{site,dist}-packages/nvidia/*/lib below `prefix`, where a wheel would have put the file.
void add_wheels(const fs::path& prefix, const LibrarySearch& search, std::vector<std::string>& candidates) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(prefix / "lib", ignored)) {
    if (!entry.path().filename().string().starts_with("python3")) continue;
    for (const char* packages : {"site-packages", "dist-packages"})
      // Wheels for CUDA 13 and later share one folder.
      for (const std::string& wheel : {search.wheel, std::string("cu13")}) {
        const fs::path file = entry.path() / packages / "nvidia" / wheel / "lib" / search.file;
        if (fs::exists(file, ignored)) candidates.push_back(file.string());
      }
  }
}

/// Prefixes of the Python installations that the user would reach by typing python3.
std::vector<fs::path> python_prefixes() {
  std::vector<fs::path> prefixes;
  for (const char* variable : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const char* value = environment(variable)) prefixes.emplace_back(value);
  std::error_code ignored;
  if (const char* path = environment("PATH"))
    for (const std::string& folder : split(path))
      if (fs::exists(fs::path(folder) / "python3", ignored))
        prefixes.push_back(fs::path(folder).parent_path());
  if (const char* home = environment("HOME")) prefixes.push_back(fs::path(home) / ".local");
  return prefixes;
}

}  // namespace

std::vector<std::string> library_candidates(const LibrarySearch& search) {
  std::vector<std::string> candidates;
  if (const char* folders = environment(search.variable.c_str())) {
    for (const std::string& folder : split(folders))
      candidates.push_back((fs::path(folder) / search.file).string());
    return candidates;
  }
  candidates.push_back(search.file);
  for (const std::string& folder : search.folders)
    candidates.push_back((fs::path(folder) / search.file).string());
  for (const fs::path& prefix : python_prefixes()) add_wheels(prefix, search, candidates);
  std::vector<std::string> unique;
  for (std::string& candidate : candidates)
    if (std::find(unique.begin(), unique.end(), candidate) == unique.end())
      unique.push_back(std::move(candidate));
  return unique;
}

std::optional<DynamicLibrary> DynamicLibrary::open(const LibrarySearch& search, std::string& failure) {
  std::vector<std::string> broken;
  std::error_code ignored;
  for (const std::string& candidate : library_candidates(search)) {
    // A name without a folder is the linker's to find; a path that is not there is no news.
    const bool bare = candidate.find('/') == std::string::npos;
    if (!bare && !fs::exists(candidate, ignored)) continue;
    if (void* handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL))
      return DynamicLibrary(handle, candidate);
    if (!bare) broken.emplace_back(dlerror());
  }
  const char* folders = environment(search.variable.c_str());
  if (!broken.empty())
    failure = fmt::format("{} does not load: {}", search.file, fmt::join(broken, "; "));
  else if (folders)
    failure = fmt::format("{} not found in {} (from {})", search.file, folders, search.variable);
  else
    failure =
        fmt::format("{} not found: {}, or set {} to its folder", search.file, search.hint, search.variable);
  return std::nullopt;
}

void* DynamicLibrary::symbol(const char* name) const {
  return dlsym(handle_, name);
}

}  // namespace quern
