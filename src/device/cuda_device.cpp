// One CUDA GPU: a stream of its own, allocations from the driver, every call checked.

#include <cuda_profiler_api.h>
#include <cuda_runtime.h>

#include "device/cuda_error.hpp"
#include "device/cuda_graph.hpp"
#include "device/cuda_handles.hpp"
#include "device/factories.hpp"
#include "quern/error.hpp"

namespace quern {

namespace {

/// A kernel that fails is noticed by a later call, when nobody knows any more which one it was.
void check_work(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  check_cuda(code,
             fmt::format("{} (an earlier kernel or copy failed; CUDA_LAUNCH_BLOCKING=1 and --no-graph tell "
                         "which node it was)",
                         call)
                 .c_str());
}

/// Makes the GPU the calling thread's current one; whoever opens a device wants its calls to go there.
int select(int index) {
  if (const char* absence = cuda_absence())
    fail_device("cuda: {}; install or update the driver (nvidia-smi must list the GPU), or use --device cpu",
                absence);
  int count = 0;
  check_cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (index >= count)
    fail_device("cuda:{}: this machine has {} GPU{}, numbered from 0", index, count, count == 1 ? "" : "s");
  check_cuda(cudaSetDevice(index), "cudaSetDevice");
  return index;
}

cudaStream_t native(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

/// Of one device's stream; the device outlives it.
class RecordedEvent final : public DeviceEvent {
 public:
  RecordedEvent() : event_(make_cuda_event()) {}
  void record(Stream stream) override {
    check_cuda(cudaEventRecord(event_.get(), native(stream)), "cudaEventRecord");
  }
  void wait() override { check_work(cudaEventSynchronize(event_.get()), "cudaEventSynchronize"); }

 private:
  CudaEvent event_;
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : index_(select(index)), stream_(make_cuda_stream()) {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
    info_.kind = DeviceKind::cuda;
    info_.index = index;
    info_.name = properties.name;
    info_.sm = properties.major * 10 + properties.minor;
    info_.multiprocessors = properties.multiProcessorCount;
    info_.memory_bytes = properties.totalGlobalMem;
    info_.shared_memory_per_block = properties.sharedMemPerBlockOptin;
  }

  const DeviceInfo& info() const noexcept override { return info_; }

  void* allocate(std::size_t bytes) override {
    activate();
    void* pointer = nullptr;
    // cudaMalloc gives no memory for 0 bytes; its blocks are aligned to 256 bytes at least.
    const cudaError_t result = cudaMalloc(&pointer, bytes == 0 ? 1 : bytes);
    if (result == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      fail_device("cuda:{}: out of memory: asked for {} bytes, {} of {} are free; use a smaller batch",
                  index_, bytes, free_memory(), info_.memory_bytes);
    }
    check_cuda(result, "cudaMalloc");
    return pointer;
  }

  void release(void* pointer) noexcept override { cudaFree(pointer); }

  void copy_to_device(void* device, const void* host, std::size_t bytes, Stream stream) override {
    copy(device, host, bytes, cudaMemcpyHostToDevice, stream);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes, Stream stream) override {
    copy(host, device, bytes, cudaMemcpyDeviceToHost, stream);
  }
  void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) override {
    copy(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
  }
  void fill(void* pointer, std::uint8_t value, std::size_t bytes, Stream stream) override {
    if (bytes == 0) return;
    activate();
    check_cuda(cudaMemsetAsync(pointer, value, bytes, native(stream)), "cudaMemsetAsync");
  }
  void synchronize(Stream stream) override {
    activate();
    check_work(cudaStreamSynchronize(native(stream)), "cudaStreamSynchronize");
  }
  Stream stream() noexcept override { return Stream{stream_.get()}; }
  void allow_nondeterministic() noexcept override { info_.allow_nondeterministic = true; }
  std::size_t free_memory() noexcept override {
    std::size_t free = 0, total = 0;
    if (cudaSetDevice(index_) != cudaSuccess || cudaMemGetInfo(&free, &total) != cudaSuccess)
      cudaGetLastError();
    return free;
  }

  bool asynchronous() const noexcept override { return true; }
  std::unique_ptr<DeviceEvent> make_event() override {
    activate();
    return std::make_unique<RecordedEvent>();
  }
  void* allocate_host(std::size_t bytes) override {
    activate();
    void* pointer = nullptr;
    check_cuda(cudaMallocHost(&pointer, bytes == 0 ? 1 : bytes), "cudaMallocHost");
    return pointer;
  }
  void release_host(void* pointer) noexcept override { cudaFreeHost(pointer); }

  bool can_capture() const noexcept override { return true; }
  bool can_loop() const noexcept override { return can_loop_; }
  std::unique_ptr<DeviceGraph> capture(const std::function<void()>& work) override {
    activate();
    return capture_cuda_graph(stream_.get(), work);
  }
  std::unique_ptr<DeviceGraph> capture_loop(const std::function<void()>& work) override {
    activate();
    return capture_cuda_loop(*this, stream_.get(), work);
  }
  void profiler_range(bool open) override {
    activate();
    check_cuda(open ? cudaProfilerStart() : cudaProfilerStop(),
               open ? "cudaProfilerStart" : "cudaProfilerStop");
  }

 private:
  /// Several devices may be open in one thread: calls go to the current one.
  void activate() { check_cuda(cudaSetDevice(index_), "cudaSetDevice"); }

  void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, Stream stream) {
    if (bytes == 0) return;
    activate();
    check_cuda(cudaMemcpyAsync(to, from, bytes, kind, native(stream)), "cudaMemcpyAsync");
  }

  int index_;
  CudaStream stream_;
  bool can_loop_ = cuda_graphs_loop();
  DeviceInfo info_;
};

}  // namespace

std::unique_ptr<Device> open_cuda(int index) {
  return std::make_unique<CudaDevice>(index);
}

int cuda_device_count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

const char* cuda_absence() noexcept {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found == cudaSuccess && count > 0) return nullptr;
  cudaGetLastError();
  switch (found) {
    case cudaSuccess:
    case cudaErrorNoDevice:
      return "this machine has no NVIDIA GPU, or none is visible (CUDA_VISIBLE_DEVICES)";
    case cudaErrorInsufficientDriver:
      return "this machine has no NVIDIA driver, or one too old for this program";
    default:
      return cudaGetErrorString(found);
  }
}

}  // namespace quern
