#pragma once

/// The multiply-adds and the bytes a CPU thread can do when nothing else holds it up, by the widest vectors
/// of this machine.

#include <cstddef>

namespace quern::bench {

/// Floating-point operations (two a multiply-add) that fma_loop() does in one round.
double fma_loop_flops();
/// Runs `rounds` rounds on registers alone. The result depends on all of them, so that no compiler leaves
/// them out.
float fma_loop(long rounds);

/// y = x + s * z.
void triad_loop(const float* x, const float* z, float s, float* y, std::size_t n);

}  // namespace quern::bench
