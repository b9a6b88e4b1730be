#pragma once

/// CUDA's built-in functions, under CUDA's names, for the SIMT emulator. What is missing here does not
/// compile under emulation; add it here with the definition of the CUDA C++ Programming Guide or the CUDA
/// Math API. Everything is inline and in the target's namespace, because each target's copy is compiled with
/// other flags.

#include <bit>

#include "kernels/platform/emulated.cuh"
#include "simt/collectives.hpp"

namespace quern::kernels::QUERN_TARGET {

inline constexpr int warpSize = 32;

// --- Vector constructors -----------------------------------------------------------------------

#define QUERN_MAKE2(type, element)                         \
  __forceinline__ type make_##type(element x, element y) { \
    return type{x, y};                                     \
  }
#define QUERN_MAKE4(type, element)                                               \
  __forceinline__ type make_##type(element x, element y, element z, element w) { \
    return type{x, y, z, w};                                                     \
  }
QUERN_MAKE2(float2, float)
QUERN_MAKE4(float4, float)
QUERN_MAKE2(int2, int)
QUERN_MAKE4(int4, int)
QUERN_MAKE2(uint2, unsigned)
QUERN_MAKE4(uint4, unsigned)
QUERN_MAKE2(short2, short)
QUERN_MAKE4(short4, short)
QUERN_MAKE2(ushort2, unsigned short)
QUERN_MAKE4(ushort4, unsigned short)
QUERN_MAKE2(char2, signed char)
QUERN_MAKE4(char4, signed char)
QUERN_MAKE2(uchar2, unsigned char)
QUERN_MAKE4(uchar4, unsigned char)
QUERN_MAKE2(double2, double)
#undef QUERN_MAKE2
#undef QUERN_MAKE4
__forceinline__ float3 make_float3(float x, float y, float z) {
  return float3{x, y, z};
}

// --- Barriers and fences -----------------------------------------------------------------------

__forceinline__ void __syncthreads(QUERN_SITE) {
  simt::sync_threads(site);
}
__forceinline__ int __syncthreads_count(int predicate, QUERN_SITE) {
  return simt::sync_threads_vote(predicate, simt::Vote::count, site);
}
__forceinline__ int __syncthreads_and(int predicate, QUERN_SITE) {
  return simt::sync_threads_vote(predicate, simt::Vote::all, site);
}
__forceinline__ int __syncthreads_or(int predicate, QUERN_SITE) {
  return simt::sync_threads_vote(predicate, simt::Vote::any, site);
}
__forceinline__ void __syncwarp(unsigned mask = simt::kFullMask, QUERN_SITE) {
  simt::sync_warp(mask, site);
}
__forceinline__ void __threadfence() {
  simt::fence();
}
// One worker runs all threads of a block, in program order.
__forceinline__ void __threadfence_block() {}
__forceinline__ void __trap(QUERN_SITE) {
  simt::fail_collective("__trap() was called", site);
}

// --- Warp votes, shuffles, matches and reductions. __activemask is absent on purpose: its value is the
// scheduler's. ---

__forceinline__ unsigned __ballot_sync(unsigned mask, int predicate, QUERN_SITE) {
  return simt::warp_ballot("__ballot_sync", mask, predicate != 0, site);
}
__forceinline__ int __any_sync(unsigned mask, int predicate, QUERN_SITE) {
  return simt::warp_ballot("__any_sync", mask, predicate != 0, site) != 0;
}
__forceinline__ int __all_sync(unsigned mask, int predicate, QUERN_SITE) {
  return simt::warp_ballot("__all_sync", mask, predicate == 0, site) == 0;
}

template <class T>
__forceinline__ T shuffle(const char* name, simt::ShuffleMode mode, unsigned mask, T value, int argument,
                          int width, simt::Site site) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "shuffles move 4- or 8-byte values");
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  const std::uint64_t moved =
      simt::warp_shuffle(name, mode, mask, std::bit_cast<Bits>(value), argument, width, site);
  return std::bit_cast<T>(static_cast<Bits>(moved));
}
template <class T>
__forceinline__ T __shfl_sync(unsigned mask, T value, int source_lane, int width = warpSize, QUERN_SITE) {
  return shuffle("__shfl_sync", simt::ShuffleMode::index, mask, value, source_lane, width, site);
}
template <class T>
__forceinline__ T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, QUERN_SITE) {
  return shuffle("__shfl_up_sync", simt::ShuffleMode::up, mask, value, static_cast<int>(delta), width, site);
}
template <class T>
__forceinline__ T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, QUERN_SITE) {
  return shuffle("__shfl_down_sync", simt::ShuffleMode::down, mask, value, static_cast<int>(delta), width,
                 site);
}
template <class T>
__forceinline__ T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, QUERN_SITE) {
  return shuffle("__shfl_xor_sync", simt::ShuffleMode::exclusive_or, mask, value, lane_mask, width, site);
}

__forceinline__ unsigned __match_any_sync(unsigned mask, unsigned value, QUERN_SITE) {
  return simt::warp_match(mask, value, site);
}

#define QUERN_WARP_REDUCE(function, type, operation)                                            \
  __forceinline__ type function(unsigned mask, type value, QUERN_SITE) {                        \
    return static_cast<type>(simt::warp_reduce(#function, simt::WarpReduction::operation, mask, \
                                               static_cast<std::uint32_t>(value), site));       \
  }
QUERN_WARP_REDUCE(__reduce_add_sync, unsigned, add)
QUERN_WARP_REDUCE(__reduce_add_sync, int, add)
QUERN_WARP_REDUCE(__reduce_min_sync, unsigned, min_unsigned)
QUERN_WARP_REDUCE(__reduce_min_sync, int, min_signed)
QUERN_WARP_REDUCE(__reduce_max_sync, unsigned, max_unsigned)
QUERN_WARP_REDUCE(__reduce_max_sync, int, max_signed)
QUERN_WARP_REDUCE(__reduce_and_sync, unsigned, bit_and)
QUERN_WARP_REDUCE(__reduce_or_sync, unsigned, bit_or)
QUERN_WARP_REDUCE(__reduce_xor_sync, unsigned, bit_xor)
#undef QUERN_WARP_REDUCE

// --- Atomics. Float atomics are absent on purpose: their order would change results. -----------

template <class T, auto change>
__forceinline__ T read_modify_write(T* address, T operand, simt::Site site) {
  if constexpr (kInstrumented) simt::note_atomic(address, sizeof(T), site);
  using Bits = std::make_unsigned_t<T>;
  constexpr auto erased = [](std::uint64_t old, std::uint64_t value) -> std::uint64_t {
    return static_cast<Bits>(change(static_cast<T>(old), static_cast<T>(value)));
  };
  return static_cast<T>(simt::atomic_update(address, sizeof(T), erased, static_cast<Bits>(operand)));
}

#define QUERN_ATOMIC(function, type, expression)                                         \
  __forceinline__ type function(type* address, type operand, QUERN_SITE) {               \
    constexpr auto change = []([[maybe_unused]] type old, [[maybe_unused]] type value) { \
      return static_cast<type>(expression);                                              \
    };                                                                                   \
    return read_modify_write<type, change>(address, operand, site);                      \
  }
#define QUERN_ATOMIC_ALL(function, expression) \
  QUERN_ATOMIC(function, int, expression)      \
  QUERN_ATOMIC(function, unsigned, expression) \
  QUERN_ATOMIC(function, unsigned long long, expression)
QUERN_ATOMIC(atomicAdd, int, static_cast<unsigned>(old) + static_cast<unsigned>(value))
QUERN_ATOMIC(atomicAdd, unsigned, old + value)
QUERN_ATOMIC(atomicAdd, unsigned long long, old + value)
QUERN_ATOMIC(atomicSub, int, static_cast<unsigned>(old) - static_cast<unsigned>(value))
QUERN_ATOMIC(atomicSub, unsigned, old - value)
QUERN_ATOMIC_ALL(atomicMax, old > value ? old : value)
QUERN_ATOMIC_ALL(atomicMin, old < value ? old : value)
QUERN_ATOMIC_ALL(atomicAnd, old& value)
QUERN_ATOMIC_ALL(atomicOr, old | value)
QUERN_ATOMIC_ALL(atomicXor, old ^ value)
QUERN_ATOMIC_ALL(atomicExch, value)
QUERN_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
QUERN_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
#undef QUERN_ATOMIC_ALL
#undef QUERN_ATOMIC

#define QUERN_ATOMIC_CAS(type)                                                          \
  __forceinline__ type atomicCAS(type* address, type compare, type value, QUERN_SITE) { \
    if constexpr (kInstrumented) simt::note_atomic(address, sizeof(type), site);        \
    using Bits = std::make_unsigned_t<type>;                                            \
    return static_cast<type>(simt::atomic_compare_exchange(                             \
        address, sizeof(type), static_cast<Bits>(compare), static_cast<Bits>(value)));  \
  }
QUERN_ATOMIC_CAS(int)
QUERN_ATOMIC_CAS(unsigned)
QUERN_ATOMIC_CAS(unsigned long long)
#undef QUERN_ATOMIC_CAS

// --- Loads and stores with cache hints ---------------------------------------------------------

#define QUERN_LOAD(function)                     \
  template <class T>                             \
  __forceinline__ T function(const T* address) { \
    return *address;                             \
  }
QUERN_LOAD(__ldg)
QUERN_LOAD(__ldca)
QUERN_LOAD(__ldcg)
QUERN_LOAD(__ldcs)
QUERN_LOAD(__ldcv)
#undef QUERN_LOAD
#define QUERN_STORE(function)                                                \
  template <class T>                                                         \
  __forceinline__ void function(T* address, std::type_identity_t<T> value) { \
    *address = value;                                                        \
  }
QUERN_STORE(__stcg)
QUERN_STORE(__stcs)
QUERN_STORE(__stwt)
#undef QUERN_STORE

// --- Integer functions -------------------------------------------------------------------------

__forceinline__ int __popc(unsigned x) {
  return std::popcount(x);
}
__forceinline__ int __popcll(unsigned long long x) {
  return std::popcount(x);
}
__forceinline__ int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
__forceinline__ int __ffs(int x) {
  return __builtin_ffs(x);
}
__forceinline__ unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= ((x >> i) & 1u) << (31 - i);
  return reversed;
}
__forceinline__ unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(x) * y) >> 32);
}
__forceinline__ int __mulhi(int x, int y) {
  return static_cast<int>((static_cast<std::int64_t>(x) * y) >> 32);
}
__forceinline__ int __mul24(int x, int y) {
  return ((x << 8) >> 8) * ((y << 8) >> 8);
}
__forceinline__ unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((((static_cast<std::uint64_t>(high) << 32) | low) << (shift & 31)) >> 32);
}
__forceinline__ unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t bytes = (static_cast<std::uint64_t>(y) << 32) | x;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i)
    result |= static_cast<unsigned>((bytes >> (8 * ((selector >> (4 * i)) & 7u))) & 0xffu) << (8 * i);
  return result;
}

template <class T>
concept Arithmetic = std::is_arithmetic_v<T>;
template <Arithmetic T>
__forceinline__ T min(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return static_cast<T>(std::fmin(a, b));
  else
    return b < a ? b : a;
}
template <Arithmetic T>
__forceinline__ T max(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return static_cast<T>(std::fmax(a, b));
  else
    return a < b ? b : a;
}

// --- Conversions and bit casts -----------------------------------------------------------------

__forceinline__ unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
__forceinline__ int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
__forceinline__ float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
__forceinline__ float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
// To integer: saturating, NaN gives 0 (PTX cvt).
template <class Integer>
__forceinline__ Integer saturate_to(float rounded) {
  constexpr float kLow = static_cast<float>(std::is_signed_v<Integer> ? -2147483648.0 : 0.0);
  constexpr float kHigh = static_cast<float>(std::is_signed_v<Integer> ? 2147483648.0 : 4294967296.0);
  if (rounded != rounded) return 0;
  if (rounded <= kLow) return static_cast<Integer>(kLow);
  if (rounded >= kHigh)
    return std::is_signed_v<Integer> ? static_cast<Integer>(0x7fffffff) : static_cast<Integer>(~0u);
  return static_cast<Integer>(rounded);
}
__forceinline__ int __float2int_rn(float x) {
  return saturate_to<int>(::nearbyintf(x));
}
__forceinline__ int __float2int_rz(float x) {
  return saturate_to<int>(::truncf(x));
}
__forceinline__ int __float2int_rd(float x) {
  return saturate_to<int>(::floorf(x));
}
__forceinline__ int __float2int_ru(float x) {
  return saturate_to<int>(::ceilf(x));
}
__forceinline__ unsigned __float2uint_rn(float x) {
  return saturate_to<unsigned>(::nearbyintf(x));
}
__forceinline__ unsigned __float2uint_rz(float x) {
  return saturate_to<unsigned>(::truncf(x));
}
__forceinline__ float __int2float_rn(int x) {
  return static_cast<float>(x);
}
__forceinline__ float __uint2float_rn(unsigned x) {
  return static_cast<float>(x);
}

// --- Arithmetic with fixed rounding, and the fast approximations: here they are exact to the last bits ---

__forceinline__ float __fadd_rn(float x, float y) {
  return x + y;
}
__forceinline__ float __fsub_rn(float x, float y) {
  return x - y;
}
__forceinline__ float __fmul_rn(float x, float y) {
  return x * y;
}
__forceinline__ float __fdiv_rn(float x, float y) {
  return x / y;
}
__forceinline__ float __fmaf_rn(float x, float y, float z) {
  return ::fmaf(x, y, z);
}
__forceinline__ float __fsqrt_rn(float x) {
  return ::sqrtf(x);
}
__forceinline__ float __frcp_rn(float x) {
  return 1.0f / x;
}
__forceinline__ float __fdividef(float x, float y) {
  return x / y;
}
__forceinline__ float __saturatef(float x) {
  return ::fminf(::fmaxf(x, 0.0f), 1.0f);  // NaN becomes 0
}
__forceinline__ float rsqrtf(float x) {
  return 1.0f / ::sqrtf(x);
}
__forceinline__ float __frsqrt_rn(float x) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x)));
}
__forceinline__ float __expf(float x) {
  return ::expf(x);
}
__forceinline__ float __exp10f(float x) {
  return ::powf(10.0f, x);
}
__forceinline__ float __logf(float x) {
  return ::logf(x);
}
__forceinline__ float __log2f(float x) {
  return ::log2f(x);
}
__forceinline__ float __powf(float x, float y) {
  return ::powf(x, y);
}
__forceinline__ float __sinf(float x) {
  return ::sinf(x);
}
__forceinline__ float __cosf(float x) {
  return ::cosf(x);
}
using std::isfinite;
using std::isinf;
using std::isnan;

}  // namespace quern::kernels::QUERN_TARGET
