#pragma once

/// Merging what several blocks have computed, in the same launch and always in the same order: every block
/// leaves its part in global memory, and the one that arrives last reads all of them. Which block that is
/// does not change the result.

#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

/// True in every thread of the last of `expected` blocks that call this with the same counter; what the
/// others wrote to global memory before is then visible to it (read it with __ldcg: the first-level cache is
/// not coherent). The counter starts at 0 and is 0 again afterwards. Contains __syncthreads().
__device__ __forceinline__ bool last_to_arrive(unsigned* counter, unsigned expected) {
  QUERN_SHARED(arrived_before, unsigned);
  __syncthreads();
  if (threadIdx.x == 0) {
    // One thread's fence stands for all: what the barriers order before and after it is ordered through it.
    __threadfence();
    arrived_before = atomicInc(counter, expected - 1);
    __threadfence();
  }
  __syncthreads();
  return arrived_before == expected - 1;
}

/// A merge in two levels, so that no block has to read all parts: members 0..count-1 form groups of
/// `group_size`, the last of each group merges it, the last of these merges the groups.
struct MergeTree {
  int count = 1;
  int group_size = 1;

  __host__ __device__ int groups() const { return (count + group_size - 1) / group_size; }
  /// One counter a group and one for the root.
  __host__ __device__ int counters() const { return groups() + 1; }
  __host__ __device__ int group_of(int member) const { return member / group_size; }
  __host__ __device__ int group_begin(int group) const { return group * group_size; }
  __host__ __device__ int group_end(int group) const {
    const int end = (group + 1) * group_size;
    return end < count ? end : count;
  }
};

}  // namespace quern::kernels::QUERN_TARGET
