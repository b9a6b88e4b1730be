#pragma once

/// The multiply-adds a CPU thread can do when nothing else holds it up.

namespace quern::bench {

/// Floating-point operations (two a multiply-add) that fma_loop() does in one round.
double fma_loop_flops();
/// Runs `rounds` rounds with the widest vectors of this machine, on registers alone. The result depends on
/// all of them, so that no compiler leaves them out.
float fma_loop(long rounds);

}  // namespace quern::bench
