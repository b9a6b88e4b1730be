#pragma once

/// The two kernels of a graph that loops. Free of fmt, which nvcc does not compile.

#include <cuda_runtime.h>

/// Conditional nodes came with CUDA 12.4.
#define QUERN_HAVE_LOOPS (CUDART_VERSION >= 12040)

#if QUERN_HAVE_LOOPS

namespace quern {

/// `*left = times`, before a launch of the graph.
void launch_set_repetitions(cudaStream_t stream, unsigned* left, unsigned times);
/// The last node of the body: one repetition less; the loop goes on while any are left.
void launch_decide(cudaStream_t stream, cudaGraphConditionalHandle loop, unsigned* left);

}  // namespace quern

#endif
