// One CUDA GPU: a stream of its own, allocations from the driver, every call checked.

#include <cuda_runtime.h>

#include "device/cuda_error.hpp"
#include "device/factories.hpp"
#include "quern/error.hpp"

namespace quern {

namespace {

class CudaStream {
 public:
  CudaStream() {
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  ~CudaStream() { cudaStreamDestroy(stream_); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  cudaStream_t get() const noexcept { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Makes the GPU the calling thread's current one; whoever opens a device wants its calls to go there.
int select(int index) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found == cudaErrorInsufficientDriver)
    fail_device("cuda: no NVIDIA driver, or one too old for this program; update it, or use --device cpu");
  if (found == cudaErrorNoDevice || (found == cudaSuccess && count == 0))
    fail_device("cuda: this machine has no GPU; use --device cpu");
  check_cuda(found, "cudaGetDeviceCount");
  if (index >= count)
    fail_device("cuda:{}: this machine has {} GPU{}, numbered from 0", index, count, count == 1 ? "" : "s");
  check_cuda(cudaSetDevice(index), "cudaSetDevice");
  return index;
}

cudaStream_t native(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : index_(select(index)) {
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
      std::size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      fail_device("cuda:{}: out of memory: asked for {} bytes, {} of {} are free; use a smaller batch",
                  index_, bytes, free, total);
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
    check_cuda(cudaStreamSynchronize(native(stream)),
               "cudaStreamSynchronize (an earlier kernel or copy failed)");
  }
  Stream stream() noexcept override { return Stream{stream_.get()}; }
  void allow_nondeterministic() noexcept override { info_.allow_nondeterministic = true; }

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

}  // namespace quern
