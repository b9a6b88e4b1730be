#pragma once

/// What PTX offers beyond CUDA C++, each instruction beside its emulated twin. Inline PTX stands in these
/// headers and nowhere else.

#include "kernels/intrinsics/async_copy.cuh"
#include "kernels/intrinsics/barrier.cuh"
#include "kernels/intrinsics/mma.cuh"
#include "kernels/intrinsics/number.cuh"
#include "kernels/intrinsics/vector.cuh"
