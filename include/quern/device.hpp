#pragma once

/// Devices: where buffers live and kernels run. A device is CPU, the SIMT emulator, or one CUDA GPU.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

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

/// A point in the work of a stream that the host can wait for.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
  /// Marks what `stream` has been given so far; an earlier mark is forgotten.
  virtual void record(Stream stream) = 0;
  /// Waits until the marked work is done and throws what went wrong in it; the processor is free meanwhile.
  virtual void wait() = 0;

 protected:
  DeviceEvent() = default;
  DeviceEvent(const DeviceEvent&) = delete;
  DeviceEvent& operator=(const DeviceEvent&) = delete;
};

/// Work of a stream, recorded once and launched as often as wanted. Addresses and sizes are those of the
/// recording. What a launch has queued may still run when the graph goes away.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  /// Queues the recorded work `times` times over (at least once).
  virtual void launch(Stream stream, std::int64_t times) = 0;
  /// Kernels, copies and fills in one repetition.
  virtual std::size_t nodes() const noexcept = 0;

 protected:
  DeviceGraph() = default;
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;
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
  /// Bytes that allocate() could still give; 0 where nobody knows.
  virtual std::size_t free_memory() noexcept { return 0; }

  /// Work is only queued when a call returns. False: it is done then.
  virtual bool asynchronous() const noexcept { return false; }
  virtual std::unique_ptr<DeviceEvent> make_event();
  /// Host memory that copies can be queued from and to; see HostBuffer. Throws a device error.
  virtual void* allocate_host(std::size_t bytes);
  virtual void release_host(void* pointer) noexcept;

  /// capture() records; capture_loop() too, into a graph that repeats on the device without the host.
  virtual bool can_capture() const noexcept { return false; }
  virtual bool can_loop() const noexcept { return false; }
  /// Calls `work` and records what it gives to stream(), none of which runs. `work` may not allocate or
  /// synchronise. What it throws ends the recording and comes through.
  virtual std::unique_ptr<DeviceGraph> capture(const std::function<void()>& work);
  virtual std::unique_ptr<DeviceGraph> capture_loop(const std::function<void()>& work);

  /// Opens and closes the window that a profiler started with `--capture-range=cudaProfilerApi` (Nsight
  /// Systems) or `--profile-from-start off` (Nsight Compute) records.
  virtual void profiler_range(bool) {}

 protected:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
};

/// Host memory of a device's own: copies from and to it need not wait. 256-byte-aligned; movable; frees
/// itself, which must not happen before the copies are done.
class HostBuffer {
 public:
  HostBuffer() = default;
  HostBuffer(Device& device, std::size_t bytes)
      : device_(&device), data_(device.allocate_host(bytes)), size_(bytes) {}
  ~HostBuffer() {
    if (data_ != nullptr) device_->release_host(data_);
  }
  HostBuffer(HostBuffer&& other) noexcept { swap(other); }
  HostBuffer& operator=(HostBuffer&& other) noexcept {
    HostBuffer taken(std::move(other));
    swap(taken);
    return *this;
  }

  std::byte* bytes() const noexcept { return static_cast<std::byte*>(data_); }
  std::size_t size() const noexcept { return size_; }
  template <class T>
  T* as() const noexcept {
    return static_cast<T*>(data_);
  }

 private:
  void swap(HostBuffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  Device* device_ = nullptr;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Opens "cpu", "emu", "cuda", "cuda:N" or "auto" (a GPU where there is one, else the CPU; never the
/// emulator). `threads` = 0 takes all cores (or OMP_NUM_THREADS). Throws an input error for an unknown name
/// and a device error for a GPU that is not there.
std::unique_ptr<Device> open_device(std::string_view name, int threads = 0);

}  // namespace quern
