// The emulator as a device: its memory is the host's, between guard zones, and its copies are checked against
// the bounds.

#include <omp.h>
#include <unistd.h>

#include <cstring>
#include <new>

#include "device/factories.hpp"
#include "quern/error.hpp"
#include "simt/memory.hpp"
#include "simt/simt.hpp"

namespace quern {

namespace {

class EmulatorDevice final : public Device {
 public:
  explicit EmulatorDevice(int threads) {
    simt::Config config = simt::config();
    config.workers = threads > 0 ? threads : omp_get_max_threads();
    simt::set_config(config);
    info_.kind = DeviceKind::emu;
    info_.name = "SIMT emulator";
    info_.sm = 90;
    // Few, so that kernels which size their grid by it stay quick here; results must not depend on it.
    info_.multiprocessors = 8;
    info_.threads = config.workers;
    info_.shared_memory_per_block = config.shared_bytes;
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0)
      info_.memory_bytes = static_cast<std::size_t>(pages) * static_cast<std::size_t>(page);
  }

  const DeviceInfo& info() const noexcept override { return info_; }

  void* allocate(std::size_t bytes) override {
    if (info_.memory_bytes == 0 || bytes <= info_.memory_bytes) {
      try {
        return simt::allocate_device_memory(bytes);
      } catch (const std::bad_alloc&) {
      }
    }
    fail_device("emu: out of memory: asked for {} bytes of {}; use a smaller batch", bytes,
                info_.memory_bytes);
  }

  void release(void* pointer) noexcept override { simt::free_device_memory(pointer); }

  void copy_to_device(void* device, const void* host, std::size_t bytes, Stream) override {
    if (bytes == 0) return;
    require(device, bytes, "copy to the device");
    std::memcpy(device, host, bytes);
    simt::mark_initialised(device, bytes);
  }

  void copy_to_host(void* host, const void* device, std::size_t bytes, Stream) override {
    if (bytes == 0) return;
    require(device, bytes, "copy to the host");
    std::memcpy(host, device, bytes);
  }

  void copy_on_device(void* to, const void* from, std::size_t bytes, Stream) override {
    if (bytes == 0) return;
    require(to, bytes, "copy on the device (destination)");
    require(from, bytes, "copy on the device (source)");
    std::memmove(to, from, bytes);
    simt::copy_initialised(to, from, bytes);
  }

  void fill(void* pointer, std::uint8_t value, std::size_t bytes, Stream) override {
    if (bytes == 0) return;
    require(pointer, bytes, "fill");
    std::memset(pointer, value, bytes);
    simt::mark_initialised(pointer, bytes);
  }

  void synchronize(Stream) override {}

 private:
  static void require(const void* pointer, std::size_t bytes, const char* what) {
    if (!simt::in_device_memory(pointer, bytes))
      fail_device("emu: {} of {} bytes reaches outside of the allocation, or of any", what, bytes);
  }

  DeviceInfo info_;
};

}  // namespace

std::unique_ptr<Device> open_emulator(int threads) {
#ifdef QUERN_SIMT_NEEDS_X86_64_V3
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2"))
    fail_device(
        "emu: this program was built on a processor with AVX2 and FMA, which this one lacks; build it here");
#endif
  return std::make_unique<EmulatorDevice>(threads);
}

}  // namespace quern
