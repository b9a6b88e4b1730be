#include "device/cuda_loop.hpp"

#include "device/cuda_error.hpp"

#if QUERN_HAVE_LOOPS

namespace quern {

namespace {

__global__ void set_repetitions(unsigned* left, unsigned times) {
  *left = times;
}

__global__ void decide(cudaGraphConditionalHandle loop, unsigned* left) {
  const unsigned now = *left - 1;
  *left = now;
  cudaGraphSetConditional(loop, now != 0 ? 1 : 0);
}

}  // namespace

void launch_set_repetitions(cudaStream_t stream, unsigned* left, unsigned times) {
  set_repetitions<<<1, 1, 0, stream>>>(left, times);
  check_launch(cudaGetLastError(), "set_repetitions");
}

void launch_decide(cudaStream_t stream, cudaGraphConditionalHandle loop, unsigned* left) {
  decide<<<1, 1, 0, stream>>>(loop, left);
  check_launch(cudaGetLastError(), "decide");
}

}  // namespace quern

#endif
