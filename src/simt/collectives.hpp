#pragma once

/// Warp-wide operations, matrix instructions and atomics, as emulated kernels reach them. Each call is made
/// by every lane concerned and returns that lane's result.

#include <cstddef>
#include <cstdint>

#include "simt/runtime.hpp"

namespace quern::simt {

/// The lanes of `mask` whose predicate is true.
unsigned warp_ballot(const char* name, unsigned mask, bool predicate, Site site);

/// PTX shfl.sync: `argument` is the source lane, the delta or the lane mask.
enum class ShuffleMode : std::uint8_t { index, up, down, exclusive_or };
std::uint64_t warp_shuffle(const char* name, ShuffleMode mode, unsigned mask, std::uint64_t value,
                           int argument, int width, Site site);

/// The lanes of `mask` that hand in the same value.
unsigned warp_match(unsigned mask, std::uint64_t value, Site site);

enum class WarpReduction : std::uint8_t {
  add,
  min_signed,
  min_unsigned,
  max_signed,
  max_unsigned,
  bit_and,
  bit_or,
  bit_xor
};
std::uint32_t warp_reduce(const char* name, WarpReduction operation, unsigned mask, std::uint32_t value,
                          Site site);

/// Reads, changes and writes back 4 or 8 bytes in one step; returns what was there.
std::uint64_t atomic_update(void* address, std::size_t bytes,
                            std::uint64_t (*change)(std::uint64_t, std::uint64_t), std::uint64_t operand);

/// Writes `value` if `compare` is there; returns what was there.
std::uint64_t atomic_compare_exchange(void* address, std::size_t bytes, std::uint64_t compare,
                                      std::uint64_t value);

/// PTX ldmatrix.sync.aligned.m8n8.xN.shared.b16, N = `matrices` (1, 2, 4); fragment layouts in
/// kernels/intrinsics/mma.cuh.
void load_matrix(std::uint32_t* fragment, int matrices, bool transposed, const void* row, Site site);

/// PTX mma.sync.aligned.m16n8kK.row.col, fp32 accumulators: d = a * b + c. Products are exact, their sum is
/// taken in double precision and rounded once; hardware sums in a format of its own, so results agree to a
/// tolerance, and exactly on small integers.
enum class MmaShape : std::uint8_t { m16n8k4_tf32, m16n8k8_tf32, m16n8k8_bf16, m16n8k16_bf16 };
void matrix_multiply(MmaShape shape, float (&d)[4], const std::uint32_t* a, const std::uint32_t* b,
                     const float (&c)[4], Site site);

}  // namespace quern::simt
