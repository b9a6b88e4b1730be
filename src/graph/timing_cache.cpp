#include <fmt/format.h>

#include <sys/stat.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "graph/json_reader.hpp"
#include "quern/autotune.hpp"
#include "quern/error.hpp"
#include "quern/file.hpp"

namespace quern {

namespace fs = std::filesystem;

namespace {

constexpr int kFormat = 1;
constexpr std::uint64_t kMostBytes = std::uint64_t{64} << 20;
/// Builds kept for a device: a developer makes a new one every few minutes.
constexpr std::size_t kMostBuilds = 8;

/// Tells this program's file from one built before or after.
std::string build_of_program() {
  struct stat status {};
  if (stat("/proc/self/exe", &status) != 0) return "unknown";
  return fmt::format("{} bytes at {}.{:09}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

fs::path user_file() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value != nullptr ? value : "");
  };
  // A relative path there is to be ignored (XDG Base Directory Specification).
  if (const fs::path cache = variable("XDG_CACHE_HOME"); cache.is_absolute())
    return cache / "quern" / "times.json";
  if (const fs::path home = variable("HOME"); home.is_absolute())
    return home / ".cache" / "quern" / "times.json";
  return {};
}

}  // namespace

TimingCache::TimingCache(fs::path file, std::string build)
    : file_(std::move(file)), build_(std::move(build)), devices_(read(file_)) {}

TimingCache TimingCache::of_user() {
  const fs::path file = user_file();
  return file.empty() ? TimingCache() : TimingCache(file, build_of_program());
}

TimingCache::Devices TimingCache::read(const fs::path& file) {
  try {
    const std::vector<std::byte> bytes = read_file(file, kMostBytes);
    const auto json = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file.string());
    if (json.at("format").get<int>() != kFormat) return {};
    Devices devices = json.at("devices").get<Devices>();
    for (const auto& [device, builds] : devices)
      for (const auto& [build, operations] : builds)
        for (const auto& [description, times] : operations)
          for (const auto& [implementation, seconds] : times)
            if (!std::isfinite(seconds) || seconds < 0) return {};
    return devices;
  } catch (const Error&) {
    return {};
  } catch (const nlohmann::json::exception&) {
    return {};
  }
}

const TimingCache::Times* TimingCache::find(const std::string& device, const std::string& description) const {
  const auto builds = devices_.find(device);
  if (builds == devices_.end()) return nullptr;
  const auto operations = builds->second.find(build_);
  if (operations == builds->second.end()) return nullptr;
  const auto times = operations->second.find(description);
  return times == operations->second.end() ? nullptr : &times->second;
}

void TimingCache::keep(const std::string& device, const std::string& description, Times times) {
  devices_[device][build_][description] = std::move(times);
  changed_ = true;
}

bool TimingCache::save() {
  if (file_.empty() || !changed_) return true;
  Devices all = read(file_);
  for (const auto& [device, builds] : devices_) {
    Builds& known = all[device];
    const auto own = builds.find(build_);
    if (own == builds.end()) continue;
    if (known.size() >= kMostBuilds && !known.contains(build_)) known.clear();
    for (const auto& [description, times] : own->second) known[build_][description] = times;
  }
  try {
    fs::create_directories(file_.parent_path());
    write_file_atomically(file_, nlohmann::json{{"format", kFormat}, {"devices", all}}.dump(1) + "\n");
  } catch (const Error&) {
    return false;
  } catch (const fs::filesystem_error&) {
    return false;
  }
  changed_ = false;
  return true;
}

}  // namespace quern
