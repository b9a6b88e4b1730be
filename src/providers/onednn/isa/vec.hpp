#pragma once

/// Vectors of floats for the files in this folder, which are compiled once per instruction set
/// (see ../CMakeLists.txt): QUERN_ISA names the namespace, the compiler's target gives the width.
///
/// Nothing here or in those files may define a symbol that another translation unit could share: a standard
/// inline function compiled for AVX-512 could be the copy that the linker keeps for every machine. So: no
/// standard library beyond freestanding headers, everything in the namespace or static. The test
/// `onednn.isa_symbols` checks the object files.

#include <cstddef>
#include <cstdint>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#ifndef QUERN_ISA
#error "compile the files of this folder with QUERN_ISA set to the namespace of their instruction set"
#endif

/// Fully unrolls the next loop, so that arrays of vectors become registers.
#define QUERN_UNROLL _Pragma("GCC unroll 16")
#define QUERN_INLINE inline __attribute__((always_inline))
#define QUERN_INLINE_LAMBDA __attribute__((always_inline))

namespace quern::onednn::QUERN_ISA {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

using std::int32_t;
using std::int64_t;
using std::uint32_t;
using std::uint8_t;

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef std::uint32_t UintVec __attribute__((vector_size(kLanes * 4)));
typedef double DoubleVec __attribute__((vector_size(kLanes * 8)));

namespace unaligned {
typedef float Vec __attribute__((vector_size(kLanes * 4), aligned(4)));
}  // namespace unaligned

QUERN_INLINE Vec load(const float* p) {
  return *reinterpret_cast<const unaligned::Vec*>(p);
}
QUERN_INLINE void store(float* p, Vec v) {
  *reinterpret_cast<unaligned::Vec*>(p) = v;
}
QUERN_INLINE Vec splat(float s) {
  return s - Vec{};
}
QUERN_INLINE IntVec splat_int(std::int32_t s) {
  return s - IntVec{};
}

#if defined(__AVX__) && !defined(__AVX512F__)
/// All ones in the first n lanes.
QUERN_INLINE __m256i first_lanes(int n) {
  constexpr IntVec kIota = {0, 1, 2, 3, 4, 5, 6, 7};
  return (__m256i)(kIota < n);
}
#endif

/// The first n lanes (0 < n <= kLanes) of memory; the others read as zero and are not touched.
QUERN_INLINE Vec load_first(const float* p, int n) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
#elif defined(__AVX__)
  return (Vec)_mm256_maskload_ps(p, first_lanes(n));
#else
  Vec v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}

QUERN_INLINE void store_first(float* p, Vec v, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), (__m512)v);
#elif defined(__AVX__)
  _mm256_maskstore_ps(p, first_lanes(n), (__m256)v);
#else
  for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
}

/// load and store of a vector that may be the ragged last one: kTail says so at compile time.
template <bool kTail>
QUERN_INLINE Vec load_lanes(const float* p, [[maybe_unused]] int n) {
  if constexpr (kTail) return load_first(p, n);
  return load(p);
}
template <bool kTail>
QUERN_INLINE void store_lanes(float* p, Vec v, [[maybe_unused]] int n) {
  if constexpr (kTail)
    store_first(p, v, n);
  else
    store(p, v);
}

/// Bytes as integers, and integers below 256 as bytes: indices into pooling windows. (GCC 12 takes the lanes
/// of
/// __builtin_convertvector between these types one by one.)
QUERN_INLINE IntVec load_bytes(const uint8_t* p) {
#if defined(__AVX512F__)
  return (IntVec)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
  return (IntVec)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  return IntVec{p[0], p[1], p[2], p[3]};
#endif
}
QUERN_INLINE void store_bytes(uint8_t* p, IntVec v) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8((__m512i)v));
#elif defined(__AVX2__)
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
#else
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<uint8_t>(v[i]);
#endif
}
template <bool kTail>
QUERN_INLINE IntVec load_byte_lanes(const uint8_t* p, [[maybe_unused]] int n) {
  if constexpr (kTail) {
    IntVec v{};
    for (int i = 0; i < n; ++i) v[i] = p[i];
    return v;
  } else {
    return load_bytes(p);
  }
}
template <bool kTail>
QUERN_INLINE void store_byte_lanes(uint8_t* p, IntVec v, [[maybe_unused]] int n) {
  if constexpr (kTail) {
    for (int i = 0; i < n; ++i) p[i] = static_cast<uint8_t>(v[i]);
  } else {
    store_bytes(p, v);
  }
}

/// Hides from the compiler where a value comes from. What is computed from a value that may have come two
/// ways is else computed twice, and not with the same fused multiplications.
QUERN_INLINE Vec whichever(Vec v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__SSE__)
  asm("" : "+x"(v));
#endif
  return v;
}

/// max(v, 0) that keeps a NaN: a network that diverged must not look healthy. (The instruction returns its
/// second operand when one is NaN.)
QUERN_INLINE Vec rectify(Vec v) {
#if defined(__AVX512F__)
  return (Vec)_mm512_max_ps(_mm512_setzero_ps(), (__m512)v);
#elif defined(__AVX__)
  return (Vec)_mm256_max_ps(_mm256_setzero_ps(), (__m256)v);
#else
  return v < 0.0f ? Vec{} : v;
#endif
}
/// v where gate > 0, else 0 (also where gate is NaN).
QUERN_INLINE Vec gate_positive(Vec v, Vec gate) {
  return gate > 0.0f ? v : Vec{};
}

/// Lane i becomes the sum of the lanes of rows[i], in a fixed order: halves, quarters, ...
QUERN_INLINE Vec sums_of_lanes(Vec (&rows)[kLanes]) {
  QUERN_UNROLL
  for (int half = kLanes / 2; half > 0; half /= 2) {
    IntVec low{}, high{};
    QUERN_UNROLL
    for (int lane = 0; lane < kLanes; ++lane) {
      low[lane] = (lane & half) == 0 ? lane : kLanes + lane - half;
      high[lane] = (lane & half) == 0 ? lane + half : kLanes + lane;
    }
    QUERN_UNROLL
    for (int i = 0; i < kLanes; ++i) {
      if (i >= half) continue;
      const Vec a = rows[i], b = rows[i + half];
      rows[i] = __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
    }
  }
  return rows[0];
}

/// Transposes a square of kLanes vectors: swaps ever smaller blocks off the diagonal.
QUERN_INLINE void transpose(Vec (&rows)[kLanes]) {
  QUERN_UNROLL
  for (int half = kLanes / 2; half > 0; half /= 2) {
    IntVec low{}, high{};
    QUERN_UNROLL
    for (int lane = 0; lane < kLanes; ++lane) {
      low[lane] = (lane & half) == 0 ? lane : kLanes + lane - half;
      high[lane] = (lane & half) == 0 ? lane + half : kLanes + lane;
    }
    QUERN_UNROLL
    for (int i = 0; i < kLanes; ++i) {
      if ((i & half) != 0) continue;
      const Vec a = rows[i], b = rows[i + half];
      rows[i] = __builtin_shuffle(a, b, low);
      rows[i + half] = __builtin_shuffle(a, b, high);
    }
  }
}

constexpr int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}

template <int kValue>
struct Int {
  static constexpr int value = kValue;
};
template <bool kValue>
struct Bool {
  static constexpr bool value = kValue;
};

/// Calls visit(c, lanes, Bool<tail>) for each vector of channels; only the ragged last one has tail = true.
template <class Visit>
QUERN_INLINE void for_each_vector(int channels, const Visit& visit) {
  int c = 0;
  for (; c + kLanes <= channels; c += kLanes) visit(c, kLanes, Bool<false>{});
  if (c < channels) visit(c, channels - c, Bool<true>{});
}

/// Calls visit(c, lanes, Int<vectors>, Bool<tail>) for groups of 4, 2 or 1 whole vectors of channels, whose
/// constants fit in registers, and for the ragged last vector.
template <class Visit>
QUERN_INLINE void for_each_group(int channels, const Visit& visit) {
  int c = 0;
  for (; c + 4 * kLanes <= channels; c += 4 * kLanes) visit(c, kLanes, Int<4>{}, Bool<false>{});
  for (; c + 2 * kLanes <= channels; c += 2 * kLanes) visit(c, kLanes, Int<2>{}, Bool<false>{});
  if (c + kLanes <= channels) {
    visit(c, kLanes, Int<1>{}, Bool<false>{});
    c += kLanes;
  }
  if (c < channels) visit(c, channels - c, Int<1>{}, Bool<true>{});
}

}  // namespace quern::onednn::QUERN_ISA
