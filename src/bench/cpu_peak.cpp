#include "bench/cpu_peak.hpp"

namespace quern::bench {
namespace {

/// `chains` independent multiply-adds a round: more than latency times throughput of any core so far (4
/// cycles, 2 a cycle), and few enough for the registers. All loops over them are unrolled: an array that is
/// indexed anywhere by a variable lives in memory, and then measures the way there and back.
template <class V, int chains>
[[gnu::always_inline]] inline float run(long rounds) {
  V sums[chains], factor{}, step{};
  factor += 0.999999f;
  step += 1e-6f;
#pragma GCC unroll 16
  for (int i = 0; i < chains; ++i) sums[i] = step * static_cast<float>(i);
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < chains; ++i) {
      sums[i] = sums[i] * factor + step;
      asm volatile("" : "+x"(sums[i]));  // kept in a register, in this order
    }
  }
#pragma GCC unroll 16
  for (int i = 1; i < chains; ++i) sums[0] += sums[i];
  return sums[0][0];
}

/// In whole vectors, and the rest one by one.
template <class V>
[[gnu::always_inline]] inline void triad(const float* x, const float* z, float s, float* y, std::size_t n) {
  typedef V Unaligned __attribute__((aligned(4), may_alias));
  constexpr std::size_t kLanes = sizeof(V) / sizeof(float);
  std::size_t i = 0;
#pragma GCC unroll 4
  for (; i + kLanes <= n; i += kLanes)
    *reinterpret_cast<Unaligned*>(y + i) =
        *reinterpret_cast<const Unaligned*>(x + i) + s * *reinterpret_cast<const Unaligned*>(z + i);
  for (; i < n; ++i) y[i] = x[i] + s * z[i];
}

struct Loops {
  float (*fma)(long rounds);
  double flops;
  void (*triad)(const float* x, const float* z, float s, float* y, std::size_t n);
};

#if defined(__x86_64__)
using V16 [[gnu::vector_size(64)]] = float;
using V8 [[gnu::vector_size(32)]] = float;
using V4 [[gnu::vector_size(16)]] = float;

[[gnu::target("avx512f")]] float fma_avx512(long rounds) {
  return run<V16, 12>(rounds);
}
[[gnu::target("avx2,fma")]] float fma_avx2(long rounds) {
  return run<V8, 12>(rounds);
}
float fma_sse(long rounds) {
  return run<V4, 12>(rounds);
}
[[gnu::target("avx512f")]] void triad_avx512(const float* x, const float* z, float s, float* y,
                                             std::size_t n) {
  triad<V16>(x, z, s, y, n);
}
[[gnu::target("avx2,fma")]] void triad_avx2(const float* x, const float* z, float s, float* y,
                                            std::size_t n) {
  triad<V8>(x, z, s, y, n);
}
void triad_sse(const float* x, const float* z, float s, float* y, std::size_t n) {
  triad<V4>(x, z, s, y, n);
}
Loops choose() {
  if (__builtin_cpu_supports("avx512f")) return {fma_avx512, 12 * 16 * 2, triad_avx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {fma_avx2, 12 * 8 * 2, triad_avx2};
  return {fma_sse, 12 * 4 * 2, triad_sse};
}
#else
using V1 [[gnu::vector_size(4)]] = float;

float fma_scalar(long rounds) {
  float sums[12] = {};
  for (long round = 0; round < rounds; ++round)
    for (float& sum : sums) sum = sum * 0.999999f + 1e-6f;
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}
Loops choose() {
  return {fma_scalar, 12 * 2, triad<V1>};
}
#endif

const Loops& loops() {
  static const Loops chosen = choose();
  return chosen;
}

}  // namespace

double fma_loop_flops() {
  return loops().flops;
}
float fma_loop(long rounds) {
  return loops().fma(rounds);
}
void triad_loop(const float* x, const float* z, float s, float* y, std::size_t n) {
  loops().triad(x, z, s, y, n);
}

}  // namespace quern::bench
