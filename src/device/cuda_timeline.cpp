// Events on a CUDA device's stream.

#include <cuda_runtime.h>

#include <utility>

#include "device/cuda_error.hpp"
#include "device/factories.hpp"
#include "quern/timeline.hpp"

namespace quern {
namespace {

class Event {
 public:
  Event() { check_cuda(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Event() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&&) = delete;
  cudaEvent_t get() const noexcept { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// A captured graph, ready to be launched.
class ReplayableGraph {
 public:
  ~ReplayableGraph() {
    if (instance_ != nullptr) cudaGraphExecDestroy(instance_);
    if (graph_ != nullptr) cudaGraphDestroy(graph_);
  }
  ReplayableGraph() = default;
  ReplayableGraph(const ReplayableGraph&) = delete;
  ReplayableGraph& operator=(const ReplayableGraph&) = delete;

  /// False if the work cannot be captured; the error is cleared then.
  bool capture(const std::function<void()>& work, cudaStream_t stream) {
    if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
      cudaGetLastError();
      return false;
    }
    try {
      work();
    } catch (...) {
      cudaStreamEndCapture(stream, &graph_);
      cudaGetLastError();
      return false;
    }
    if (cudaStreamEndCapture(stream, &graph_) == cudaSuccess && graph_ != nullptr &&
        cudaGraphInstantiate(&instance_, graph_, 0) == cudaSuccess)
      return true;
    cudaGetLastError();
    return false;
  }
  void launch(cudaStream_t stream) const {
    check_cuda(cudaGraphLaunch(instance_, stream), "cudaGraphLaunch");
  }

 private:
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t instance_ = nullptr;
};

class CudaTimeline final : public Timeline {
 public:
  explicit CudaTimeline(Device& device) : device_(device) {}

  void clear() override { used_ = 0; }
  void mark() override {
    if (used_ == events_.size()) events_.emplace_back();
    check_cuda(cudaEventRecord(events_[used_++].get(), stream()), "cudaEventRecord");
  }
  std::vector<double> seconds() override {
    device_.synchronize(device_.stream());
    std::vector<double> result;
    for (std::size_t i = 0; i < used_; ++i) {
      float milliseconds = 0;
      check_cuda(cudaEventElapsedTime(&milliseconds, events_[0].get(), events_[i].get()),
                 "cudaEventElapsedTime");
      result.push_back(static_cast<double>(milliseconds) * 1e-3);
    }
    return result;
  }
  std::function<void()> replayable(std::function<void()> work) override {
    auto graph = std::make_shared<ReplayableGraph>();
    if (!graph->capture(work, stream())) return work;
    return [graph, stream = stream()] { graph->launch(stream); };
  }

 private:
  cudaStream_t stream() const { return static_cast<cudaStream_t>(device_.stream().handle); }

  Device& device_;
  std::vector<Event> events_;
  std::size_t used_ = 0;
};

}  // namespace

std::unique_ptr<Timeline> make_cuda_timeline(Device& device) {
  return std::make_unique<CudaTimeline>(device);
}

}  // namespace quern
