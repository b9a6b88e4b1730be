#pragma once

/// Devices: where buffers live and kernels run. A device is CPU, the SIMT emulator, or one CUDA GPU.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace quern {

enum class DeviceKind : std::uint8_t { cpu, emu, cuda };
const char* to_string(DeviceKind kind) noexcept;

/// What implementations may know of a device when they decide whether to refuse.
struct DeviceInfo {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;     ///< CUDA ordinal
  std::string name;  ///< "AMD EPYC ...", "SIMT emulator", "NVIDIA H200"
  int sm = 0;        ///< compute capability * 10 (90 for Hopper); 0 on a CPU
  int multiprocessors = 0;
  int threads = 1;  ///< worker threads of a CPU or of the emulator
  std::size_t memory_bytes = 0;
  std::size_t shared_memory_per_block = 0;  ///< opt-in limit
  bool present = true;  ///< false: only described, for a plan; libraries that need the GPU cannot be asked
  bool allow_nondeterministic = false;  ///< libraries may take algorithms whose bits vary from run to run
};

/// An opaque queue of device work. On CUDA it holds a cudaStream_t; elsewhere work is done when the call
/// returns.
struct Stream {
  void* handle = nullptr;
};

class Device;

/// An owned, 256-byte-aligned device allocation. Movable; frees itself.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device& device, std::size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const noexcept { return data_; }
  std::byte* bytes() const noexcept { return static_cast<std::byte*>(data_); }
  std::size_t size() const noexcept { return size_; }
  explicit operator bool() const noexcept { return data_ != nullptr; }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

class Device {
 public:
  virtual ~Device() = default;

  virtual const DeviceInfo& info() const noexcept = 0;
  /// Throws a device error that says how much was asked for and how much is free. `bytes` may be 0.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* pointer) noexcept = 0;
  /// Copies and fills are ordered with the work of `stream`; host memory must stay valid until synchronize().
  virtual void copy_to_device(void* device, const void* host, std::size_t bytes, Stream stream) = 0;
  virtual void copy_to_host(void* host, const void* device, std::size_t bytes, Stream stream) = 0;
  virtual void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) = 0;
  virtual void fill(void* pointer, std::uint8_t value, std::size_t bytes, Stream stream) = 0;
  /// Waits for all work of `stream` and throws what went wrong in it.
  virtual void synchronize(Stream stream) = 0;
  virtual Stream stream() noexcept { return {}; }
  /// Sets DeviceInfo::allow_nondeterministic, where there is such a choice: on a GPU.
  virtual void allow_nondeterministic() noexcept {}

 protected:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
};

/// Opens "cpu", "emu", "cuda", "cuda:N" or "auto" (a GPU where there is one, else the CPU; never the
/// emulator). `threads` = 0 takes all cores (or OMP_NUM_THREADS). Throws an input error for an unknown name
/// and a device error for a GPU that is not there.
std::unique_ptr<Device> open_device(std::string_view name, int threads = 0);

}  // namespace quern
