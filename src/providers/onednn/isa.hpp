#pragma once

/// Which instruction set the provider's own kernels use: the best one that the machine has.

#include <optional>

#include "providers/onednn/kernels.hpp"

namespace quern::onednn {

enum class Isa {
  baseline,  ///< what the compiler's default target has: SSE2 on x86-64
  avx2,      ///< x86-64-v3: AVX2 and FMA
  avx512,    ///< x86-64-v4: AVX-512 F, BW, CD, DQ, VL
};
const char* to_string(Isa isa) noexcept;

/// The best instruction set that this build and this machine have.
Isa best_isa() noexcept;

/// Kernels for what is prepared from now on: those of best_isa(), or of the override.
const Kernels& kernels() noexcept;

/// For tests: makes kernels() use another instruction set, which must not be above best_isa(). Empty: no
/// override.
void override_isa(std::optional<Isa> isa);

}  // namespace quern::onednn
