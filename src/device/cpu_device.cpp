#include <omp.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>

#include "device/factories.hpp"
#include "quern/error.hpp"

namespace quern {

namespace {

constexpr std::size_t kAlignment = 256;

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const auto text = line.find_first_not_of(" \t", line.find(':') + 1);
    if (text != std::string::npos) return line.substr(text);
  }
  return "CPU";
}

/// `_SC_PHYS_PAGES` or `_SC_AVPHYS_PAGES` in bytes; 0 when the system does not tell.
std::size_t memory(int pages_key) {
  const long pages = sysconf(pages_key);
  const long page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(page) : 0;
}

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(int threads) {
    if (threads > 0) omp_set_num_threads(threads);
    info_.kind = DeviceKind::cpu;
    info_.name = cpu_model();
    info_.threads = omp_get_max_threads();
    info_.memory_bytes = memory(_SC_PHYS_PAGES);
  }

  const DeviceInfo& info() const noexcept override { return info_; }

  void* allocate(std::size_t bytes) override {
    // The system promises more than it has and kills whoever uses it: what cannot fit is refused here.
    const bool possible = info_.memory_bytes == 0 || bytes <= info_.memory_bytes;
    void* pointer = nullptr;
    if (possible) {
      const std::size_t rounded = (bytes / kAlignment + 1) * kAlignment;
      pointer = std::aligned_alloc(kAlignment, rounded);
    }
    if (pointer == nullptr)
      fail_device("cpu: out of memory: asked for {} bytes, {} of {} are free; use a smaller batch", bytes,
                  memory(_SC_AVPHYS_PAGES), info_.memory_bytes);
    return pointer;
  }

  void release(void* pointer) noexcept override { std::free(pointer); }

  void copy_to_device(void* device, const void* host, std::size_t bytes, Stream) override {
    copy(device, host, bytes);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes, Stream) override {
    copy(host, device, bytes);
  }
  void copy_on_device(void* to, const void* from, std::size_t bytes, Stream) override {
    copy(to, from, bytes);
  }
  void fill(void* pointer, std::uint8_t value, std::size_t bytes, Stream) override {
    if (bytes != 0) std::memset(pointer, value, bytes);
  }
  void synchronize(Stream) override {}

 private:
  static void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes != 0) std::memmove(to, from, bytes);
  }

  DeviceInfo info_;
};

}  // namespace

std::unique_ptr<Device> open_cpu(int threads) {
  return std::make_unique<CpuDevice>(threads);
}

}  // namespace quern
