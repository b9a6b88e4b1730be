#pragma once

/// Graphs of a CUDA device: recorded from a stream, replayed from the host or, as the body of a WHILE node,
/// by the GPU itself.

#include <cuda_runtime.h>

#include <functional>
#include <memory>

#include "quern/device.hpp"

namespace quern {

/// Records what `work` gives to `stream`. The current device is the stream's.
std::unique_ptr<DeviceGraph> capture_cuda_graph(cudaStream_t stream, const std::function<void()>& work);

/// Whether the runtime this was built with and the driver it runs on have conditional nodes (CUDA 12.4).
bool cuda_graphs_loop() noexcept;
/// The same work as the body of a loop; `device` gives the four bytes of its counter.
std::unique_ptr<DeviceGraph> capture_cuda_loop(Device& device, cudaStream_t stream,
                                               const std::function<void()>& work);

}  // namespace quern
