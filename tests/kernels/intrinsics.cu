#include "kernels/intrinsics.cuh"

#include "tests/kernels/intrinsics.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr unsigned kAll = 0xffffffffu;

__global__ void ldmatrix_kernel(const LdmatrixArgs args) {
  QUERN_SHARED(tile, std::uint16_t[32][8]);
  const unsigned lane = threadIdx.x;
  for (int i = 0; i < 8; ++i) tile[lane][i] = args.elements[lane * 8 + i];
  __syncwarp();
  std::uint32_t d1[1] = {}, d2[2] = {}, d4[4] = {};
  const void* const row = tile[lane];
  if (args.matrices == 1) args.transposed ? ldmatrix_x1_trans(d1, row) : ldmatrix_x1(d1, row);
  if (args.matrices == 2) args.transposed ? ldmatrix_x2_trans(d2, row) : ldmatrix_x2(d2, row);
  if (args.matrices == 4) args.transposed ? ldmatrix_x4_trans(d4, row) : ldmatrix_x4(d4, row);
  for (int j = 0; j < args.matrices; ++j)
    args.fragments[lane * 4 + j] = args.matrices == 1 ? d1[0] : args.matrices == 2 ? d2[j & 1] : d4[j];
}

__global__ void mma_kernel(const MmaArgs args) {
  const unsigned lane = threadIdx.x;
  std::uint32_t a4[4], a2[2], b2[2], b1[1];
  float c[4], d[4] = {};
  for (int i = 0; i < 4; ++i) {
    a4[i] = args.a[lane * 4 + i];
    a2[i % 2] = args.a[lane * 4 + i % 2];
    b2[i % 2] = args.b[lane * 2 + i % 2];
    c[i] = args.c[lane * 4 + i];
  }
  b1[0] = b2[0];
  if (args.form == MmaForm::m16n8k4_tf32) mma_m16n8k4_tf32(d, a2, b1, c);
  if (args.form == MmaForm::m16n8k8_tf32) mma_m16n8k8_tf32(d, a4, b2, c);
  if (args.form == MmaForm::m16n8k8_bf16) mma_m16n8k8_bf16(d, a2, b1, c);
  if (args.form == MmaForm::m16n8k16_bf16) mma_m16n8k16_bf16(d, a4, b2, c);
  for (int i = 0; i < 4; ++i) args.d[lane * 4 + i] = d[i];
}

__global__ void cp_async_kernel(const CpAsyncArgs args) {
  QUERN_SHARED(tile, float[32][4]);
  const unsigned lane = threadIdx.x;
  for (int i = 0; i < 4; ++i) tile[lane][i] = -1.0f;
  const float* const source = args.source + lane * 4;
  const unsigned count = static_cast<unsigned>(args.source_bytes);
  if (args.source_bytes < 0) {
    if (args.bytes == 4) cp_async_4(tile[lane], source);
    if (args.bytes == 8) cp_async_8(tile[lane], source);
    if (args.bytes == 16) cp_async_16(tile[lane], source);
  } else {
    if (args.bytes == 4) cp_async_4(tile[lane], source, count);
    if (args.bytes == 8) cp_async_8(tile[lane], source, count);
    if (args.bytes == 16) cp_async_16(tile[lane], source, count);
  }
  cp_async_wait_all();
  __syncthreads();
  // Another lane's copy, so that the barrier matters.
  for (int i = 0; i < 4; ++i) args.out[(31 - lane) * 4 + i] = tile[31 - lane][i];
}

__global__ void cp_async_groups_kernel(const CpAsyncGroupsArgs args) {
  QUERN_SHARED(tile, float[4][32]);
  const unsigned lane = threadIdx.x;
  for (int group = 0; group < 4; ++group) {
    cp_async_4(&tile[group][lane], args.source + group * 32 + lane);
    cp_async_commit();
  }
  cp_async_wait<2>();  // groups 0 and 1 are here
  args.out[lane] = tile[0][lane];
  args.out[32 + lane] = tile[1][lane];
  cp_async_wait<1>();
  args.out[64 + lane] = tile[2][lane];
  if (args.early != nullptr) args.early[lane] = tile[3][lane];
  cp_async_wait<0>();
  args.out[96 + lane] = tile[3][lane];
}

__global__ void shuffle_kernel(const ShuffleArgs args) {
  const unsigned lane = threadIdx.x;
  const float value = 100.0f + static_cast<float>(lane);
  const unsigned long long wide = 0x100000000ull * (lane + 1) + lane;
  float moved = 0;
  unsigned long long moved_wide = 0;
  const int signed_argument = static_cast<int>(args.argument);
  switch (args.form) {
    case ShuffleForm::index:
      moved = __shfl_sync(kAll, value, signed_argument, args.width);
      moved_wide = __shfl_sync(kAll, wide, signed_argument, args.width);
      break;
    case ShuffleForm::up:
      moved = __shfl_up_sync(kAll, value, args.argument, args.width);
      moved_wide = __shfl_up_sync(kAll, wide, args.argument, args.width);
      break;
    case ShuffleForm::down:
      moved = __shfl_down_sync(kAll, value, args.argument, args.width);
      moved_wide = __shfl_down_sync(kAll, wide, args.argument, args.width);
      break;
    case ShuffleForm::exclusive_or:
      moved = __shfl_xor_sync(kAll, value, signed_argument, args.width);
      moved_wide = __shfl_xor_sync(kAll, wide, signed_argument, args.width);
      break;
  }
  args.out[lane] = moved;
  args.out_wide[lane] = moved_wide;
}

// Reductions of a warp in one instruction came with sm_80: no kernel needs them, and older GPUs skip their
// tests.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define QUERN_HAVE_WARP_REDUCTIONS 0
#else
#define QUERN_HAVE_WARP_REDUCTIONS 1
#endif

__global__ void warp_kernel(const WarpArgs args) {
#if QUERN_HAVE_WARP_REDUCTIONS
  const unsigned lane = threadIdx.x, x = args.in[lane];
  const int s = static_cast<int>(x);
  const unsigned results[kWarpProbes] = {
      __ballot_sync(kAll, (x & 1u) != 0),
      static_cast<unsigned>(__any_sync(kAll, x == args.in[5])),
      static_cast<unsigned>(__any_sync(kAll, x == 0x12345u)),
      static_cast<unsigned>(__all_sync(kAll, x != 0x12345u)),
      static_cast<unsigned>(__all_sync(kAll, lane != 7)),
      __match_any_sync(kAll, x % 3),
      __reduce_add_sync(kAll, x),
      __reduce_min_sync(kAll, x),
      __reduce_max_sync(kAll, x),
      static_cast<unsigned>(__reduce_min_sync(kAll, s)),
      static_cast<unsigned>(__reduce_max_sync(kAll, s)),
      static_cast<unsigned>(__reduce_add_sync(kAll, s)),
      __reduce_and_sync(kAll, x | 0xff00ff00u),
      __reduce_or_sync(kAll, x),
      __reduce_xor_sync(kAll, x),
  };
  for (int i = 0; i < kWarpProbes; ++i) args.out[i * 32 + static_cast<int>(lane)] = results[i];
#endif
}

/// The halves of a warp take different branches, each with collectives of its own.
__global__ void half_warps_kernel(const WarpArgs args) {
#if QUERN_HAVE_WARP_REDUCTIONS
  const unsigned lane = threadIdx.x, x = args.in[lane];
  if (lane < 16) {
    args.out[lane] = __reduce_add_sync(0x0000ffffu, x);
    args.out[32 + lane] = __shfl_xor_sync(0x0000ffffu, x, 1);
  } else {
    args.out[lane] = __reduce_max_sync(0xffff0000u, x);
    args.out[32 + lane] = __ballot_sync(0xffff0000u, (x & 1u) != 0);
  }
  __syncwarp();
  args.out[64 + lane] = __shfl_sync(kAll, x, 31 - static_cast<int>(lane));
#endif
}

__global__ void block_votes_kernel(const BlockArgs args) {
  const int thread = static_cast<int>(threadIdx.x);
  unsigned* const out = args.out + thread * 3;
  out[0] = static_cast<unsigned>(__syncthreads_count(thread % 3 == 0));
  out[1] = static_cast<unsigned>(__syncthreads_and(thread < 1000));
  out[2] = static_cast<unsigned>(__syncthreads_or(thread == 77));
}

/// Warp 0 produces, warp 1 consumes, through one buffer: "full" is barrier 1, "empty" is barrier 2.
__global__ void named_barriers_kernel(const NamedBarrierArgs args) {
  QUERN_SHARED(buffer, float[32]);
  const unsigned lane = threadIdx.x % 32;
  if (threadIdx.x < 32) {
    for (int round = 0; round < args.rounds; ++round) {
      if (round > 0) named_barrier_sync(2, 64);
      buffer[lane] = args.in[round * 32 + static_cast<int>(lane)];
      named_barrier_arrive(1, 64);
    }
  } else {
    for (int round = 0; round < args.rounds; ++round) {
      named_barrier_sync(1, 64);
      args.out[round * 32 + static_cast<int>(lane)] = buffer[31 - lane];
      if (round + 1 < args.rounds) named_barrier_arrive(2, 64);
    }
  }
}

__global__ void atomics_kernel(const AtomicsArgs args) {
  const unsigned id = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&args.words[0], id);
  atomicAdd(reinterpret_cast<int*>(&args.words[1]), -static_cast<int>(id));
  atomicSub(&args.words[2], 1u);
  atomicMax(&args.words[3], id);
  atomicMin(reinterpret_cast<int*>(&args.words[4]), -static_cast<int>(id));
  atomicOr(&args.words[5], 1u << (id % 32));
  atomicAnd(&args.words[6], ~(1u << (id % 32)));
  atomicXor(&args.words[7], id);
  args.old_values[id] = atomicInc(&args.words[8], 1000000u);
  atomicDec(&args.words[9], 5u);
  atomicExch(&args.words[10], 42u);
  atomicCAS(&args.words[11], 0u, 17u);
  atomicAdd(&args.wide[0], 0x100000001ull);
  atomicMax(&args.wide[1], static_cast<unsigned long long>(id) << 33);
}

__global__ void numbers_kernel(const NumbersArgs args) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= args.count) return;
  args.tf32[i] = to_tf32(args.x[i]);
  const bf16 half = to_bf16(args.x[i]);
  args.bf16[i] = static_cast<std::uint16_t>(__float_as_uint(to_float(half)) >> 16);
  const std::uint32_t packed = pack_bf16x2(args.x[i], -args.x[i]);
  args.packed[i] = packed;
  const float2 pair = unpack_bf16x2(packed);
  args.unpacked[2 * i] = pair.x;
  args.unpacked[2 * i + 1] = pair.y;
}

__global__ void math_kernel(const MathArgs args) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= args.count) return;
  const float x = args.x[i];
  const float results[kMathProbes] = {__expf(x),
                                      __logf(x),
                                      rsqrtf(x),
                                      __fdividef(1.0f, x),
                                      __frcp_rn(x),
                                      __fmaf_rn(x, x, -1.0f),
                                      __saturatef(x - 1.0f),
                                      __sinf(x),
                                      __cosf(x),
                                      fmaxf(x, 1.5f) + max(x, 2.5f) + min(x, 0.75f),
                                      __powf(x, 1.5f),
                                      sqrtf(x) + fabsf(-x) + floorf(x)};
  for (int probe = 0; probe < kMathProbes; ++probe) args.out[probe * args.count + i] = results[probe];
}

__global__ void integers_kernel(const IntegersArgs args) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= args.count) return;
  const unsigned x = args.x[i];
  const unsigned results[kIntegerProbes] = {
      static_cast<unsigned>(__popc(x)),
      static_cast<unsigned>(__clz(static_cast<int>(x))),
      static_cast<unsigned>(__ffs(static_cast<int>(x))),
      __brev(x),
      __umulhi(x, 0x9E3779B9u),
      __byte_perm(x, 0xA1B2C3D4u, 0x5140u),
      static_cast<unsigned>(__float2int_rn(__uint_as_float(x))),
      static_cast<unsigned>(min(static_cast<int>(x), 7)),
      __float_as_uint(__uint_as_float(x)),
  };
  for (int probe = 0; probe < kIntegerProbes; ++probe) args.out[probe * args.count + i] = results[probe];
}

__global__ void coordinates_kernel(const LayoutArgs args) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  int* const out =
      args.out + static_cast<std::size_t>(block * blockDim.x * blockDim.y * blockDim.z + thread) * 6;
  out[0] = static_cast<int>(blockIdx.x);
  out[1] = static_cast<int>(blockIdx.y);
  out[2] = static_cast<int>(blockIdx.z);
  out[3] = static_cast<int>(threadIdx.x);
  out[4] = static_cast<int>(threadIdx.y);
  out[5] = static_cast<int>(threadIdx.z);
}

__device__ __forceinline__ void reverse_through(float* memory, float* out) {
  const unsigned i = threadIdx.x;
  memory[i] = out[i];
  __syncthreads();
  out[i] = memory[255 - i];
  __syncthreads();
}

__global__ void shared_kernel(const SharedArgs args) {
  QUERN_SHARED(still, float[256]);
  QUERN_SHARED_ALIGNED(128, aligned, float[256]);
  DynamicShared dynamic;
  float* const first = dynamic.take<float>(256);
  float* const second = dynamic.take<float, 128>(256);
  const unsigned i = threadIdx.x;
  args.out[i] = args.in[i];
  if (reinterpret_cast<std::uintptr_t>(aligned) % 128 != 0 ||
      reinterpret_cast<std::uintptr_t>(second) % 128 != 0)
    return;
  reverse_through(still, args.out);
  reverse_through(aligned, args.out);
  reverse_through(first, args.out);
  reverse_through(second, args.out);
  QUERN_DYNAMIC_SHARED(raw, float);
  reverse_through(raw, args.out);
}

}  // namespace

void probe_ldmatrix(const LdmatrixArgs& args, Stream stream) {
  launch(QUERN_KERNEL(ldmatrix_kernel), 1, 32, 0, stream, args);
}
void probe_mma(const MmaArgs& args, Stream stream) {
  launch(QUERN_KERNEL(mma_kernel), 1, 32, 0, stream, args);
}
void probe_cp_async(const CpAsyncArgs& args, Stream stream) {
  launch(QUERN_KERNEL(cp_async_kernel), 1, 32, 0, stream, args);
}
void probe_cp_async_groups(const CpAsyncGroupsArgs& args, Stream stream) {
  launch(QUERN_KERNEL(cp_async_groups_kernel), 1, 32, 0, stream, args);
}
void probe_shuffle(const ShuffleArgs& args, Stream stream) {
  launch(QUERN_KERNEL(shuffle_kernel), 1, 32, 0, stream, args);
}
void probe_warp(const WarpArgs& args, Stream stream) {
  launch(QUERN_KERNEL(warp_kernel), 1, 32, 0, stream, args);
}
void probe_half_warps(const WarpArgs& args, Stream stream) {
  launch(QUERN_KERNEL(half_warps_kernel), 1, 32, 0, stream, args);
}
void probe_block_votes(const BlockArgs& args, Stream stream) {
  launch(QUERN_KERNEL(block_votes_kernel), 1, args.threads, 0, stream, args);
}
void probe_named_barriers(const NamedBarrierArgs& args, Stream stream) {
  launch(QUERN_KERNEL(named_barriers_kernel), 1, 64, 0, stream, args);
}
void probe_atomics(const AtomicsArgs& args, Stream stream) {
  launch(QUERN_KERNEL(atomics_kernel), 4, 64, 0, stream, args);
}
void probe_numbers(const NumbersArgs& args, Stream stream) {
  launch(QUERN_KERNEL(numbers_kernel), 1, 64, 0, stream, args);
}
void probe_math(const MathArgs& args, Stream stream) {
  launch(QUERN_KERNEL(math_kernel), 1, 64, 0, stream, args);
}
void probe_integers(const IntegersArgs& args, Stream stream) {
  launch(QUERN_KERNEL(integers_kernel), 1, 64, 0, stream, args);
}
void probe_coordinates(const LayoutArgs& args, Stream stream) {
  launch(QUERN_KERNEL(coordinates_kernel), dim3(3, 2, 4), dim3(5, 3, 2), 0, stream, args);
}
void probe_shared(const SharedArgs& args, Stream stream) {
  launch(QUERN_KERNEL(shared_kernel), 1, 256, args.dynamic_bytes, stream, args);
}

}  // namespace quern::kernels::QUERN_TARGET
