#include "providers/cudnn/context.hpp"

#include <cuda_runtime.h>

#include "device/cuda_error.hpp"

namespace quern::cudnn {

Context& Context::of(int device_index) {
  static std::mutex mutex;
  static auto& contexts = *new std::map<int, std::unique_ptr<Context>>;
  const std::lock_guard lock(mutex);
  auto& context = contexts[device_index];
  if (!context) context.reset(new Context(device_index));
  return *context;
}

Context::Context(int device_index) {
  check_cuda(cudaSetDevice(device_index), "cudaSetDevice");
  QUERN_CUDNN(cudnnCreate, &handle_);
}

cudnnHandle_t Context::on(Stream stream) {
  if (stream.handle != stream_ || stream_ == nullptr) {
    QUERN_CUDNN(cudnnSetStream, handle_, static_cast<cudaStream_t>(stream.handle));
    stream_ = stream.handle;
  }
  return handle_;
}

const Context::Planned& Context::plan(const std::string& key, const ConvGraph& graph,
                                      const EngineRules& rules) {
  const std::lock_guard lock(mutex_);
  const auto [found, is_new] = plans_.try_emplace(key);
  if (is_new) found->second.plan = GraphPlan::build({handle_, nullptr}, graph, rules, found->second.failure);
  return found->second;
}

}  // namespace quern::cudnn
