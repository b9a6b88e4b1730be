#include "bench/fma_peak.hpp"

namespace quern::bench {
namespace {

/// `chains` independent multiply-adds a round: more than latency times throughput of any core so far (4
/// cycles, 2 a cycle), and few enough for the registers.
template <class V, int chains>
[[gnu::always_inline]] inline float run(long rounds) {
  V sums[chains], factor{}, step{};
  factor += 0.999999f;
  step += 1e-6f;
  for (int i = 0; i < chains; ++i) sums[i] = step * static_cast<float>(i);
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < chains; ++i) {
      sums[i] = sums[i] * factor + step;
      asm volatile("" : "+x"(sums[i]));  // kept in a register, in this order
    }
  }
  float total = 0;
  for (int i = 0; i < chains; ++i) total += sums[i][0];
  return total;
}

struct Loop {
  float (*run)(long rounds);
  double flops;
};

#if defined(__x86_64__)
using V16 [[gnu::vector_size(64)]] = float;
using V8 [[gnu::vector_size(32)]] = float;
using V4 [[gnu::vector_size(16)]] = float;

[[gnu::target("avx512f")]] float run_avx512(long rounds) {
  return run<V16, 12>(rounds);
}
[[gnu::target("avx2,fma")]] float run_avx2(long rounds) {
  return run<V8, 12>(rounds);
}
float run_sse(long rounds) {
  return run<V4, 12>(rounds);
}
Loop choose() {
  if (__builtin_cpu_supports("avx512f")) return {run_avx512, 12 * 16 * 2};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {run_avx2, 12 * 8 * 2};
  return {run_sse, 12 * 4 * 2};
}
#else
float run_scalar(long rounds) {
  float sums[12] = {};
  for (long round = 0; round < rounds; ++round)
    for (float& sum : sums) sum = sum * 0.999999f + 1e-6f;
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}
Loop choose() {
  return {run_scalar, 12 * 2};
}
#endif

const Loop& loop() {
  static const Loop chosen = choose();
  return chosen;
}

}  // namespace

double fma_loop_flops() {
  return loop().flops;
}
float fma_loop(long rounds) {
  return loop().run(rounds);
}

}  // namespace quern::bench
