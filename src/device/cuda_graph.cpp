#include "device/cuda_graph.hpp"

#include "device/cuda_handles.hpp"
#include "device/cuda_loop.hpp"
#include "quern/error.hpp"

namespace quern {

namespace {

/// Ends the recording of a stream whatever happens: a stream left recording refuses all other work.
template <class Begin>
cudaGraph_t record(cudaStream_t stream, const Begin& begin, const std::function<void()>& work) {
  begin();
  cudaGraph_t graph = nullptr;
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    cudaGetLastError();  // of the recording cut short; what `work` threw says why
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  return graph;
}

std::size_t count_nodes(cudaGraph_t graph) {
  std::size_t nodes = 0;
  check_cuda(cudaGraphGetNodes(graph, nullptr, &nodes), "cudaGraphGetNodes");
  return nodes;
}

CudaGraphExec instantiate(cudaGraph_t graph, cudaStream_t stream) {
  cudaGraphExec_t exec = nullptr;
  check_cuda(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate");
  CudaGraphExec owned(exec);
  // Its memory goes to the GPU now, not with the first launch.
  check_cuda(cudaGraphUpload(exec, stream), "cudaGraphUpload");
  return owned;
}

class RecordedGraph final : public DeviceGraph {
 public:
  RecordedGraph(cudaStream_t stream, const std::function<void()>& work) {
    // Thread-local: other threads may allocate meanwhile (a data set is loaded beside the first steps), this
    // one may not.
    const auto begin = [&] {
      check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    };
    const CudaGraph graph(record(stream, begin, work));
    nodes_ = count_nodes(graph.get());
    exec_ = instantiate(graph.get(), stream);
  }

  void launch(Stream stream, std::int64_t times) override {
    for (; times > 0; --times)
      check_cuda(cudaGraphLaunch(exec_.get(), static_cast<cudaStream_t>(stream.handle)), "cudaGraphLaunch");
  }
  std::size_t nodes() const noexcept override { return nodes_; }

 private:
  std::size_t nodes_ = 0;
  CudaGraphExec exec_;
};

#if QUERN_HAVE_LOOPS

cudaGraph_t add_while_node(cudaGraph_t graph, cudaGraphConditionalHandle handle) {
  cudaGraphNodeParams params = {};
  params.type = cudaGraphNodeTypeConditional;
  params.conditional.handle = handle;
  params.conditional.type = cudaGraphCondTypeWhile;
  params.conditional.size = 1;
  cudaGraphNode_t node = nullptr;
#if CUDART_VERSION >= 13000
  check_cuda(cudaGraphAddNode(&node, graph, nullptr, nullptr, 0, &params), "cudaGraphAddNode (while)");
#else
  check_cuda(cudaGraphAddNode(&node, graph, nullptr, 0, &params), "cudaGraphAddNode (while)");
#endif
  return params.conditional.phGraph_out[0];
}

/// The loop counts in memory of its own. StepScalars::index would not do: it stays at the table's last entry,
/// so that an epoch without a ragged batch would never end.
class LoopGraph final : public DeviceGraph {
 public:
  LoopGraph(Device& device, cudaStream_t stream, const std::function<void()>& work)
      : left_(device, sizeof(unsigned)) {
    cudaGraph_t created = nullptr;
    check_cuda(cudaGraphCreate(&created, 0), "cudaGraphCreate");
    const CudaGraph graph(created);
    cudaGraphConditionalHandle handle;
    // Every launch enters the body: launch() is never asked for no repetition.
    check_cuda(cudaGraphConditionalHandleCreate(&handle, created, 1, cudaGraphCondAssignDefault),
               "cudaGraphConditionalHandleCreate");
    cudaGraph_t body = add_while_node(created, handle);
    const auto begin = [&] {
      check_cuda(
          cudaStreamBeginCaptureToGraph(stream, body, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCaptureToGraph");
    };
    record(stream, begin, [&] {
      work();
      launch_decide(stream, handle, left());
    });
    nodes_ = count_nodes(body);
    exec_ = instantiate(created, stream);
  }

  void launch(Stream stream, std::int64_t times) override {
    const auto native = static_cast<cudaStream_t>(stream.handle);
    constexpr std::int64_t kMost = 1u << 30;
    for (; times > 0; times -= kMost) {
      launch_set_repetitions(native, left(), static_cast<unsigned>(times < kMost ? times : kMost));
      check_cuda(cudaGraphLaunch(exec_.get(), native), "cudaGraphLaunch");
    }
  }
  std::size_t nodes() const noexcept override { return nodes_; }

 private:
  unsigned* left() const noexcept { return static_cast<unsigned*>(left_.data()); }

  Buffer left_;
  std::size_t nodes_ = 0;
  CudaGraphExec exec_;
};

#endif

}  // namespace

std::unique_ptr<DeviceGraph> capture_cuda_graph(cudaStream_t stream, const std::function<void()>& work) {
  return std::make_unique<RecordedGraph>(stream, work);
}

#if QUERN_HAVE_LOOPS

bool cuda_graphs_loop() noexcept {
  int driver = 0;
  return cudaDriverGetVersion(&driver) == cudaSuccess && driver >= 12040;
}

std::unique_ptr<DeviceGraph> capture_cuda_loop(Device& device, cudaStream_t stream,
                                               const std::function<void()>& work) {
  return std::make_unique<LoopGraph>(device, stream, work);
}

#else

bool cuda_graphs_loop() noexcept {
  return false;
}

std::unique_ptr<DeviceGraph> capture_cuda_loop(Device&, cudaStream_t, const std::function<void()>&) {
  fail_device("cuda: this program was built with CUDA {}.{}: graphs that loop need 12.4",
              CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
}

#endif

}  // namespace quern
