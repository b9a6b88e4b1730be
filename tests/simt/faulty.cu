#include "tests/simt/faulty.cuh"

#include "kernels/gemm/arrival.cuh"
#include "kernels/intrinsics.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr unsigned kAll = 0xffffffffu;

// --- Synchronisation ---------------------------------------------------------------------------

__global__ void missing_syncthreads_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[256]);
  const unsigned i = threadIdx.x;
  tile[i] = in[i];
  out[i] = tile[255 - i];  // FAULT: missing_syncthreads
}

__global__ void missing_syncwarp_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[32]);
  const unsigned lane = threadIdx.x;
  tile[lane] = in[lane];
  out[lane] = tile[lane ^ 1];  // FAULT: missing_syncwarp
}

__global__ void shuffle_as_fence_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[32]);
  const unsigned lane = threadIdx.x;
  tile[lane] = in[lane];
  const float other = __shfl_xor_sync(kAll, in[lane], 1);
  out[lane] = other + tile[lane ^ 1];  // FAULT: shuffle_as_fence
}

__global__ void partial_syncwarp_too_small_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[32]);
  const unsigned lane = threadIdx.x;
  tile[lane] = in[lane];
  __syncwarp(lane < 16 ? 0x0000ffffu : 0xffff0000u);
  out[lane] = tile[31 - lane];  // FAULT: partial_syncwarp_too_small
}

__global__ void write_after_read_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[256]);
  const unsigned i = threadIdx.x;
  tile[i] = in[i];
  __syncthreads();
  const float other = tile[(i + 64) % 256];
  tile[i] = other + 1.0f;  // FAULT: write_after_read
  out[i] = tile[i];
}

__global__ void half_words_overlap_kernel(float* out) {
  QUERN_SHARED(halves, std::uint16_t[65]);
  const unsigned i = threadIdx.x;
  halves[i] = static_cast<std::uint16_t>(i);
  halves[i + 1] = 7;  // FAULT: half_words_overlap
  out[i] = static_cast<float>(halves[i]);
}

__global__ void arrive_without_sync_kernel(const float* in, float* out) {
  QUERN_SHARED(buffer, float[32]);
  const unsigned lane = threadIdx.x % 32;
  if (threadIdx.x < 32) {
    named_barrier_arrive(1, 64);  // too early: what follows is not covered
    buffer[lane] = in[lane];
  } else {
    named_barrier_sync(1, 64);
    out[lane] = buffer[lane];  // FAULT: arrive_without_sync
  }
}

// --- Barriers ----------------------------------------------------------------------------------

__global__ void divergent_barrier_kernel(float* out) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();  // FAULT: divergent_barrier
  out[threadIdx.x] = 1.0f;
}

__global__ void barrier_in_one_branch_kernel(float* out) {
  if (threadIdx.x % 64 == 0) {
    __syncthreads();  // FAULT: barrier_in_one_branch
  }
  __syncwarp();
  out[threadIdx.x] = 1.0f;
}

__global__ void early_exit_kernel(float* out) {
  if (threadIdx.x >= 200) return;
  __syncthreads();  // FAULT: early_exit
  out[threadIdx.x] = 1.0f;
}

__global__ void divergent_warp_collective_kernel(float* out) {
  const float x = static_cast<float>(threadIdx.x);
  float y = 0;
  if (threadIdx.x < 16)
    y = __shfl_xor_sync(kAll, x, 1);
  else
    y = __shfl_xor_sync(kAll, x, 1);  // FAULT: divergent_warp_collective
  out[threadIdx.x] = y;
}

__global__ void mask_lacks_caller_kernel(float* out) {
  out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 0);  // FAULT: mask_lacks_caller
}

__global__ void shuffle_from_ended_lane_kernel(float* out) {
  if (threadIdx.x % 32 >= 24) return;
  out[threadIdx.x] = __shfl_down_sync(kAll, 1.0f, 1);  // FAULT: shuffle_from_ended_lane
}

__global__ void mma_with_part_of_a_warp_kernel(float* out) {
  if (threadIdx.x % 32 == 5) return;
  float d[4];
  const std::uint32_t a[2] = {}, b[1] = {};
  const float c[4] = {};
  mma_m16n8k8_bf16(d, a, b, c);  // FAULT: mma_with_part_of_a_warp
  out[threadIdx.x] = d[0];
}

__global__ void partial_warp_at_named_barrier_kernel(float* out) {
  if (threadIdx.x % 2 == 0) named_barrier_sync(3, 128);  // FAULT: partial_warp_at_named_barrier
  out[threadIdx.x] = 1.0f;
}

// --- Memory ------------------------------------------------------------------------------------

__global__ void static_shared_overrun_kernel(float* out, int extra) {
  QUERN_SHARED(tile, float[8][33]);
  const unsigned i = threadIdx.x;
  float* const flat = &tile[0][0];
  if (i < 8 * 33) flat[i + static_cast<unsigned>(extra)] = 1.0f;  // FAULT: static_shared_overrun
  out[i] = 1.0f;
}

__global__ void dynamic_shared_overrun_kernel(float* out, int elements) {
  QUERN_DYNAMIC_SHARED(memory, float);
  const unsigned i = threadIdx.x;
  if (i <= static_cast<unsigned>(elements)) memory[i] = 1.0f;  // FAULT: dynamic_shared_overrun
  out[i] = 1.0f;
}

__global__ void between_dynamic_pieces_kernel(float* out) {
  DynamicShared shared;
  float* const first = shared.take<float>(64);
  float* const second = shared.take<float>(64);
  const unsigned i = threadIdx.x;
  if (i <= 64) first[i] = 1.0f;  // FAULT: between_dynamic_pieces
  if (i < 64) second[i] = 2.0f;
  out[i] = 1.0f;
}

__global__ void global_overrun_kernel(float* out) {
  out[threadIdx.x + 1] = 1.0f;  // FAULT: global_overrun
}

__global__ void global_underrun_kernel(float* out) {
  out[static_cast<int>(threadIdx.x) - 1] = 1.0f;  // FAULT: global_underrun
}

__global__ void global_far_away_kernel(float* out) {
  const std::ptrdiff_t far = threadIdx.x == 17 ? std::ptrdiff_t{1} << 40 : 0;
  out[threadIdx.x + far] = 1.0f;  // FAULT: global_far_away
}

__global__ void stack_overflow_kernel(float* out) {
  volatile float frame[50 * 1024];  // more than Config::stack_bytes
  frame[threadIdx.x] = 1.0f;
  out[threadIdx.x] = frame[threadIdx.x];
}

__global__ void endless_loop_kernel(float* out, unsigned* counter) {
  if (threadIdx.x == 40)
    while (atomicAdd(counter, 0u) == 0) {
    }
  out[threadIdx.x] = 1.0f;
}

__device__ float program_variable = 0;  // launchers are stateless: kernels keep nothing in variables

__global__ void write_to_constant_kernel(float* out) {
  if (threadIdx.x == 3) program_variable = 1.0f;  // FAULT: write_to_constant
  out[threadIdx.x] = program_variable;
}

__global__ void uninitialised_shared_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[256]);
  const unsigned i = threadIdx.x;
  if (i < 255) tile[i] = in[i];
  __syncthreads();
  out[i] = tile[i];  // FAULT: uninitialised_shared
}

__global__ void uninitialised_global_kernel(const float* in, float* out) {
  const unsigned i = threadIdx.x;
  if (i != 100) out[i] = in[i];
  out[i] = out[i] + 1.0f;  // FAULT: uninitialised_global
}

__global__ void fragment_off_by_one_kernel(const float* in, float* out) {
  QUERN_SHARED(a, std::uint32_t[16][12]);  // 8 columns and padding, as against bank conflicts
  const unsigned lane = threadIdx.x, group = lane / 4, member = lane % 4;
  for (unsigned i = lane; i < 16 * 8; i += 32) a[i / 8][i % 8] = to_tf32(in[i]);
  __syncwarp();
  const std::uint32_t fragment[4] = {a[group][member], a[group + 8][member], a[group][member + 4],
                                     a[group + 8][member + 5]};  // FAULT: fragment_off_by_one
  const std::uint32_t b[2] = {to_tf32(1.0f), to_tf32(1.0f)};
  const float c[4] = {};
  float d[4];
  mma_m16n8k8_tf32(d, fragment, b, c);
  out[lane] = d[0] + d[2];
}

__global__ void ldmatrix_outside_kernel(float* out) {
  QUERN_SHARED(tile, std::uint16_t[8][8]);
  const unsigned lane = threadIdx.x;
  if (lane < 8)
    for (int i = 0; i < 8; ++i) tile[lane][i] = 0;
  __syncwarp();
  std::uint32_t d[2];
  ldmatrix_x2(d, &tile[0][0] + lane % 16 * 8);  // FAULT: ldmatrix_outside
  out[lane] = static_cast<float>(d[0]);
}

__global__ void ldmatrix_misaligned_kernel(float* out) {
  QUERN_SHARED(tile, std::uint16_t[9][8]);
  const unsigned lane = threadIdx.x;
  if (lane < 9)
    for (int i = 0; i < 8; ++i) tile[lane][i] = 0;
  __syncwarp();
  std::uint32_t d[1];
  ldmatrix_x1(d, &tile[lane % 8][2]);  // FAULT: ldmatrix_misaligned
  out[lane] = static_cast<float>(d[0]);
}

__global__ void cp_async_outside_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[124]);
  const unsigned i = threadIdx.x;
  if (i < 32) cp_async_16(&tile[i * 4], in + i * 4);  // FAULT: cp_async_outside
  cp_async_wait_all();
  __syncthreads();
  out[i] = tile[i % 124];
}

__global__ void missing_cp_async_wait_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[256]);
  const unsigned i = threadIdx.x;
  cp_async_4(&tile[i], in + i);
  cp_async_commit();
  __syncthreads();
  out[i] = tile[i];  // FAULT: missing_cp_async_wait
  cp_async_wait<0>();
}

__global__ void wait_for_wrong_group_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[2][128]);
  const unsigned i = threadIdx.x % 128;
  if (threadIdx.x >= 128) return;
  for (int stage = 0; stage < 2; ++stage) {
    cp_async_4(&tile[stage][i], in + stage * 128 + i);
    cp_async_commit();
  }
  cp_async_wait<1>();
  out[i] = tile[0][i] + tile[1][i];  // FAULT: wait_for_wrong_group
}

__global__ void misaligned_vector_kernel(const float* in, float* out) {
  if (threadIdx.x < 32)
    store4(out + threadIdx.x * 4, load4(in + threadIdx.x * 4 + 2));  // FAULT: misaligned_vector
}

__global__ void too_much_static_shared_kernel(float* out) {
  QUERN_SHARED(first, float[8192]);
  first[threadIdx.x] = 0;
#if !defined(__CUDACC__)  // nvcc finds it by itself
  QUERN_SHARED(second, float[4097]);
  second[threadIdx.x] = 0;
#endif
  out[threadIdx.x] = first[threadIdx.x];
}

__global__ void shared_beyond_what_was_asked_kernel(float* out) {
  QUERN_SHARED(declared, float[5120]);
  DynamicShared shared;
  float* const taken = shared.take<float>(7168);
  declared[threadIdx.x] = taken[threadIdx.x] = 0;
  out[threadIdx.x] = declared[threadIdx.x] + taken[threadIdx.x];
}

__global__ void pieces_exceed_dynamic_kernel(float* out) {
  DynamicShared shared;
  float* const first = shared.take<float>(128);
  float* const second = shared.take<float>(129);  // FAULT: pieces_exceed_dynamic
  first[threadIdx.x % 128] = 0;
  second[threadIdx.x % 128] = 0;
  out[threadIdx.x] = 0;
}

// --- Between blocks ----------------------------------------------------------------------------

__global__ void two_blocks_write_kernel(float* out) {
  out[blockIdx.x * 128 + threadIdx.x] = 1.0f;
  if (threadIdx.x == 0) out[100] = 2.0f;  // FAULT: two_blocks_write
}

__global__ void block_reads_other_kernel(const float* in, float* out) {
  const unsigned i = blockIdx.x * 64 + threadIdx.x;
  if (threadIdx.x >= 64) return;
  out[i] = in[i];
  if (blockIdx.x == 1) out[i] = out[i] + out[i - 64];  // FAULT: block_reads_other
}

// Every block leaves 32 numbers; the last one to arrive at the counter adds them up. Each kernel lacks one
// part of the pattern that last_block_adds_up_kernel has in full.

__global__ void last_block_without_fence_kernel(const float* in, float* out, unsigned* counter) {
  QUERN_SHARED(last, bool);
  const unsigned i = threadIdx.x;
  out[blockIdx.x * 32 + i] = in[blockIdx.x * 32 + i];
  __syncthreads();
  if (i == 0) {
    last = atomicAdd(counter, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!last) return;
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += out[b * 32 + i];  // FAULT: last_block_without_fence
  out[200 + i] = sum;
}

__global__ void last_block_without_second_fence_kernel(const float* in, float* out, unsigned* counter) {
  QUERN_SHARED(last, bool);
  const unsigned i = threadIdx.x;
  out[blockIdx.x * 32 + i] = in[blockIdx.x * 32 + i];
  __syncthreads();
  if (i == 0) {
    __threadfence();
    last = atomicAdd(counter, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += out[b * 32 + i];  // FAULT: last_block_without_second_fence
  out[200 + i] = sum;
}

__global__ void last_block_without_barrier_kernel(const float* in, float* out, unsigned* counter) {
  QUERN_SHARED(last, bool);
  const unsigned i = threadIdx.x;
  out[blockIdx.x * 32 + i] = in[blockIdx.x * 32 + i];
  if (i == 0) {
    __threadfence();
    last = atomicAdd(counter, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!last) return;
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += out[b * 32 + i];  // FAULT: last_block_without_barrier
  out[200 + i] = sum;
}

/// The others' fences do not help: what they order ends at the barrier, and the first thread's came too
/// early.
__global__ void fences_before_the_barrier_kernel(const float* in, float* out, unsigned* counter) {
  QUERN_SHARED(last, bool);
  const unsigned i = threadIdx.x;
  out[blockIdx.x * 32 + i] = in[blockIdx.x * 32 + i];
  __threadfence();
  __syncthreads();
  if (i == 0) {
    last = atomicAdd(counter, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!last) return;
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += out[b * 32 + i];  // FAULT: fences_before_the_barrier
  out[200 + i] = sum;
}

__global__ void write_after_release_kernel(const float* in, float* out, unsigned* counter) {
  if (threadIdx.x != 0) return;
  __threadfence();
  const bool last = atomicAdd(counter, 1u) == gridDim.x - 1;
  __threadfence();
  out[blockIdx.x] = in[blockIdx.x];
  if (!last) return;
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += out[b];  // FAULT: write_after_release
  out[200] = sum;
}

// --- Between kernels ---------------------------------------------------------------------------

__global__ void touched_before_join_kernel(const float* in, float* out) {
  const float early = in[threadIdx.x];  // FAULT: touched_before_join
  join_stream();
  out[threadIdx.x] = early;
}

__global__ void ended_without_join_kernel(const float* in, float* out) {
  if (threadIdx.x == 200) return;
  join_stream();
  out[threadIdx.x] = in[threadIdx.x];
}

// --- Correct patterns --------------------------------------------------------------------------

__global__ void tree_reduction_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[256]);
  const unsigned i = threadIdx.x;
  tile[i] = in[blockIdx.x * 256 + i];
  __syncthreads();
  for (unsigned step = 128; step > 0; step /= 2) {
    if (i < step) tile[i] += tile[i + step];
    __syncthreads();
  }
  if (i == 0) out[blockIdx.x] = tile[0];
}

__global__ void warp_synchronous_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[8][32]);
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  tile[warp][lane] = in[threadIdx.x];
  __syncwarp();
  const float other = tile[warp][31 - lane];
  __syncwarp();
  tile[warp][lane] = other;
  __syncwarp();
  out[threadIdx.x] = tile[warp][lane ^ 1];
}

/// Quarters of a warp work for themselves, then pairs of quarters.
__global__ void partial_syncwarps_kernel(const float* in, float* out) {
  QUERN_SHARED(tile, float[8][32]);
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  tile[warp][lane] = in[threadIdx.x];
  __syncwarp(0xffu << (lane & 24u));
  const float neighbour = tile[warp][lane ^ 7];
  __syncwarp(0xffffu << (lane & 16u));
  tile[warp][lane ^ 8] = neighbour;
  __syncwarp(0xffffu << (lane & 16u));
  out[threadIdx.x] = tile[warp][lane ^ 15];
}

__global__ void neighbouring_halves_kernel(const float* in, float* out) {
  QUERN_SHARED(halves, std::uint16_t[256]);
  QUERN_SHARED(bytes, std::uint8_t[256]);
  const unsigned i = threadIdx.x;
  halves[i] = static_cast<std::uint16_t>(in[i]);
  bytes[i] = static_cast<std::uint8_t>(in[i]);
  __syncthreads();
  out[i] = static_cast<float>(halves[255 - i]) + static_cast<float>(bytes[i]);
}

__global__ void double_buffer_kernel(const float* in, float* out, int stages) {
  QUERN_SHARED(tile, float[2][256]);
  const unsigned i = threadIdx.x;
  float sum = 0;
  cp_async_4(&tile[0][i], in + i);
  cp_async_commit();
  for (int stage = 0; stage < stages; ++stage) {
    if (stage + 1 < stages) cp_async_4(&tile[(stage + 1) % 2][i], in + i);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    sum += tile[stage % 2][255 - i];
    __syncthreads();
  }
  out[i] = sum;
}

__global__ void producer_consumer_kernel(const float* in, float* out) {
  QUERN_SHARED(buffer, float[2][32]);
  const unsigned lane = threadIdx.x % 32;
  if (threadIdx.x < 32) {
    for (int round = 0; round < 8; ++round) {
      if (round >= 2) named_barrier_sync(3 + round % 2, 64);
      buffer[round % 2][lane] = in[round * 32 + static_cast<int>(lane)];
      named_barrier_arrive(1 + round % 2, 64);
    }
  } else if (threadIdx.x < 64) {
    for (int round = 0; round < 8; ++round) {
      named_barrier_sync(1 + round % 2, 64);
      out[round * 32 + static_cast<int>(lane)] = buffer[round % 2][31 - lane];
      if (round < 6) named_barrier_arrive(3 + round % 2, 64);
    }
  }
}

/// Every block leaves a partial sum; the last to finish adds them up in a fixed order.
__global__ void last_block_adds_up_kernel(const float* in, float* out, float* partial, unsigned* counter) {
  QUERN_SHARED(tile, float[256]);
  QUERN_SHARED(last, bool);
  const unsigned i = threadIdx.x;
  partial[blockIdx.x * 256 + i] = in[blockIdx.x * 256 + i] * 2.0f;
  __syncthreads();
  if (i == 0) {
    __threadfence();
    last = atomicAdd(counter, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!last) return;
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += partial[b * 256 + i];
  tile[i] = sum;
  __syncthreads();
  if (i == 0) {
    float total = 0;
    for (float x : tile) total += x;
    out[0] = total;
    *counter = 0;
  }
}

/// The last of each pair of blocks goes on to the last of the pairs, which reads what all have written: it
/// knows of the first of each pair only through the second.
__global__ void last_of_pairs_adds_up_kernel(const float* in, float* out, float* partial,
                                             unsigned* counters) {
  const unsigned i = threadIdx.x;
  partial[blockIdx.x * 256 + i] = in[blockIdx.x * 256 + i] * 3.0f;
  const unsigned pair = blockIdx.x / 2, pairs = (gridDim.x + 1) / 2;
  const unsigned members = 2 * pair + 1 < gridDim.x ? 2 : 1;
  if (!last_to_arrive(counters + 1 + pair, members)) return;
  if (!last_to_arrive(counters, pairs)) return;
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += partial[b * 256 + i];
  out[i] = sum;
}

/// Every warp arrives for itself: __syncwarp takes the place of __syncthreads.
__global__ void last_warp_adds_up_kernel(const float* in, float* out, float* partial, unsigned* counter) {
  const unsigned lane = threadIdx.x % 32, warps = gridDim.x * 8;
  partial[blockIdx.x * 256 + threadIdx.x] = in[blockIdx.x * 256 + threadIdx.x] + 1.0f;
  __syncwarp();
  unsigned before = 0;
  if (lane == 0) {
    __threadfence();
    before = atomicInc(counter, warps - 1);
    __threadfence();
  }
  __syncwarp();
  if (__shfl_sync(kAll, before, 0) != warps - 1) return;
  float sum = 0;
  for (unsigned w = 0; w < warps; ++w) sum += partial[w * 32 + lane];
  out[lane] = sum;
}

__global__ void exit_without_barrier_kernel(const float* in, float* out) {
  if (threadIdx.x >= 100) return;
  out[threadIdx.x] = in[threadIdx.x] + __shfl_sync(threadIdx.x < 96 ? kAll : 0xfu, in[threadIdx.x], 0);
}

__global__ void in_place_kernel(float* out, const float* in) {
  const unsigned i = threadIdx.x;
  out[i] = in[i];
  out[i] += 1.0f;
  __syncthreads();
  out[255 - i] *= 2.0f;
}

__global__ void reused_buffer_kernel(const float* in, float* out) {
  DynamicShared shared;
  float* const a = shared.take<float>(256);
  float* const b = shared.take<float>(256);
  const unsigned i = threadIdx.x;
  a[i] = in[i];
  __syncthreads();
  for (int round = 0; round < 4; ++round) {
    b[i] = a[(i + 1) % 256];
    __syncthreads();
    a[i] = b[(i + 1) % 256];
    __syncthreads();
  }
  out[i] = a[i];
}

}  // namespace

void planted(const PlantedArgs& args, Stream stream) {
  const float* const in = args.in;
  float* const out = args.out;
  switch (args.fault) {
#define QUERN_PLANTED(name, grid, block, shared, ...) \
  case Planted::name:                                 \
    return launch(QUERN_KERNEL(name##_kernel), grid, block, shared, stream, __VA_ARGS__);
    QUERN_PLANTED(missing_syncthreads, 1, 256, 0, in, out)
    QUERN_PLANTED(missing_syncwarp, 1, 32, 0, in, out)
    QUERN_PLANTED(shuffle_as_fence, 1, 32, 0, in, out)
    QUERN_PLANTED(partial_syncwarp_too_small, 1, 32, 0, in, out)
    QUERN_PLANTED(write_after_read, 1, 256, 0, in, out)
    QUERN_PLANTED(half_words_overlap, 1, 64, 0, out)
    QUERN_PLANTED(arrive_without_sync, 1, 64, 0, in, out)
    QUERN_PLANTED(divergent_barrier, 1, 64, 0, out)
    QUERN_PLANTED(barrier_in_one_branch, 1, 128, 0, out)
    QUERN_PLANTED(early_exit, 1, 256, 0, out)
    QUERN_PLANTED(divergent_warp_collective, 1, 32, 0, out)
    QUERN_PLANTED(mask_lacks_caller, 1, 32, 0, out)
    QUERN_PLANTED(shuffle_from_ended_lane, 1, 64, 0, out)
    QUERN_PLANTED(mma_with_part_of_a_warp, 1, 32, 0, out)
    QUERN_PLANTED(partial_warp_at_named_barrier, 1, 256, 0, out)
    QUERN_PLANTED(static_shared_overrun, 1, 256, 0, out, 10)
    QUERN_PLANTED(dynamic_shared_overrun, 1, 256, 128 * sizeof(float), out, 128)
    QUERN_PLANTED(between_dynamic_pieces, 1, 256, 128 * sizeof(float), out)
    QUERN_PLANTED(global_overrun, 1, 256, 0, out)
    QUERN_PLANTED(global_underrun, 1, 256, 0, out)
    QUERN_PLANTED(global_far_away, 1, 256, 0, out)
    QUERN_PLANTED(stack_overflow, 1, 64, 0, out)
    QUERN_PLANTED(endless_loop, 1, 64, 0, out, args.counter)
    QUERN_PLANTED(write_to_constant, 1, 256, 0, out)
    QUERN_PLANTED(uninitialised_shared, 1, 256, 0, in, out)
    QUERN_PLANTED(uninitialised_global, 1, 256, 0, in, out)
    QUERN_PLANTED(fragment_off_by_one, 1, 32, 0, in, out)
    QUERN_PLANTED(ldmatrix_outside, 1, 32, 0, out)
    QUERN_PLANTED(ldmatrix_misaligned, 1, 32, 0, out)
    QUERN_PLANTED(cp_async_outside, 1, 128, 0, in, out)
    QUERN_PLANTED(missing_cp_async_wait, 1, 256, 0, in, out)
    QUERN_PLANTED(wait_for_wrong_group, 1, 256, 0, in, out)
    QUERN_PLANTED(misaligned_vector, 1, 32, 0, in, out)
    QUERN_PLANTED(too_much_static_shared, 1, 256, 0, out)
    QUERN_PLANTED(shared_beyond_what_was_asked, 1, 256, 7169 * sizeof(float), out)
    QUERN_PLANTED(pieces_exceed_dynamic, 1, 256, 256 * sizeof(float), out)
    QUERN_PLANTED(two_blocks_write, 2, 64, 0, out)
    QUERN_PLANTED(block_reads_other, 2, 64, 0, in, out)
    QUERN_PLANTED(last_block_without_fence, 4, 32, 0, in, out, args.counter)
    QUERN_PLANTED(last_block_without_second_fence, 4, 32, 0, in, out, args.counter)
    QUERN_PLANTED(last_block_without_barrier, 4, 32, 0, in, out, args.counter)
    QUERN_PLANTED(fences_before_the_barrier, 4, 32, 0, in, out, args.counter)
    QUERN_PLANTED(write_after_release, 4, 32, 0, in, out, args.counter)
#undef QUERN_PLANTED
    case Planted::touched_before_join:
      return launch_dependent(QUERN_KERNEL(touched_before_join_kernel), 1, 256, 0, stream, in, out);
    case Planted::ended_without_join:
      return launch_dependent(QUERN_KERNEL(ended_without_join_kernel), 1, 256, 0, stream, in, out);
  }
}

void correct(const CorrectArgs& args, Stream stream) {
  const float* const in = args.in;
  float* const out = args.out;
  switch (args.pattern) {
#define QUERN_CORRECT(name, grid, shared, ...) \
  case Correct::name:                          \
    return launch(QUERN_KERNEL(name##_kernel), grid, 256, shared, stream, __VA_ARGS__);
    QUERN_CORRECT(tree_reduction, args.blocks, 0, in, out)
    QUERN_CORRECT(warp_synchronous, 1, 0, in, out)
    QUERN_CORRECT(partial_syncwarps, 1, 0, in, out)
    QUERN_CORRECT(neighbouring_halves, 1, 0, in, out)
    QUERN_CORRECT(double_buffer, 1, 0, in, out, 5)
    QUERN_CORRECT(producer_consumer, 1, 0, in, out)
    QUERN_CORRECT(last_block_adds_up, args.blocks, 0, in, out, args.partial, args.counters)
    QUERN_CORRECT(last_of_pairs_adds_up, args.blocks, 0, in, out, args.partial, args.counters)
    QUERN_CORRECT(last_warp_adds_up, args.blocks, 0, in, out, args.partial, args.counters)
    QUERN_CORRECT(exit_without_barrier, 1, 0, in, out)
    QUERN_CORRECT(in_place, 1, 0, out, in)
    QUERN_CORRECT(reused_buffer, 1, 512 * sizeof(float), in, out)
#undef QUERN_CORRECT
  }
}

}  // namespace quern::kernels::QUERN_TARGET
