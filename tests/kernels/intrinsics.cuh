#pragma once

/// Kernels that exercise one intrinsic each; the expectations stand in intrinsics_test.cpp.

#include <cstdint>

#include "kernels/launcher.hpp"

namespace quern::kernels {

struct LdmatrixArgs {
  const std::uint16_t* elements = nullptr;  ///< 32 rows of 8: row r is the one whose address lane r hands in
  std::uint32_t* fragments = nullptr;       ///< [lane][4]
  int matrices = 0;                         ///< 1, 2 or 4
  bool transposed = false;
};
QUERN_DECLARE_LAUNCHER(probe_ldmatrix, LdmatrixArgs);

enum class MmaForm { m16n8k4_tf32, m16n8k8_tf32, m16n8k8_bf16, m16n8k16_bf16 };
struct MmaArgs {
  MmaForm form = MmaForm::m16n8k8_tf32;
  const std::uint32_t* a = nullptr;  ///< [lane][4], as many used as the form has registers
  const std::uint32_t* b = nullptr;  ///< [lane][2]
  const float* c = nullptr;          ///< [lane][4]
  float* d = nullptr;                ///< [lane][4]
};
QUERN_DECLARE_LAUNCHER(probe_mma, MmaArgs);

struct CpAsyncArgs {
  const float* source = nullptr;  ///< 32 x 4
  float* out = nullptr;           ///< 32 x 4
  int bytes = 16;                 ///< 4, 8 or 16 a thread
  int source_bytes = -1;          ///< -1: all, by the form without zero fill
};
QUERN_DECLARE_LAUNCHER(probe_cp_async, CpAsyncArgs);

struct CpAsyncGroupsArgs {
  const float* source = nullptr;  ///< 4 groups of 32
  float* out = nullptr;           ///< [4][32], each group as seen once it must have arrived
  float* early = nullptr;         ///< [32], group 3 before its wait
};
QUERN_DECLARE_LAUNCHER(probe_cp_async_groups, CpAsyncGroupsArgs);

enum class ShuffleForm { index, up, down, exclusive_or };
struct ShuffleArgs {
  ShuffleForm form = ShuffleForm::index;
  unsigned argument = 0;
  int width = 32;
  float* out = nullptr;                    ///< [lane]
  unsigned long long* out_wide = nullptr;  ///< [lane], the same of a 64-bit value
};
QUERN_DECLARE_LAUNCHER(probe_shuffle, ShuffleArgs);

struct WarpArgs {
  const unsigned* in = nullptr;  ///< [lane]
  unsigned* out = nullptr;       ///< [kWarpProbes][lane], one row an operation
};
inline constexpr int kWarpProbes = 15;
QUERN_DECLARE_LAUNCHER(probe_warp, WarpArgs);
QUERN_DECLARE_LAUNCHER(probe_half_warps, WarpArgs);

struct BlockArgs {
  int threads = 0;
  unsigned* out = nullptr;  ///< [thread][3]: count, and, or
};
QUERN_DECLARE_LAUNCHER(probe_block_votes, BlockArgs);

struct NamedBarrierArgs {
  const float* in = nullptr;  ///< [rounds][32]
  float* out = nullptr;       ///< [rounds][32]
  int rounds = 0;
};
QUERN_DECLARE_LAUNCHER(probe_named_barriers, NamedBarrierArgs);

struct AtomicsArgs {
  unsigned* words = nullptr;           ///< [12]
  unsigned long long* wide = nullptr;  ///< [2]
  unsigned* old_values = nullptr;      ///< [threads], what atomicInc returned
};
QUERN_DECLARE_LAUNCHER(probe_atomics, AtomicsArgs);

struct NumbersArgs {
  const float* x = nullptr;
  std::uint32_t* tf32 = nullptr;
  std::uint16_t* bf16 = nullptr;
  std::uint32_t* packed = nullptr;  ///< of (x, -x)
  float* unpacked = nullptr;        ///< [2 * count]
  int count = 0;
};
QUERN_DECLARE_LAUNCHER(probe_numbers, NumbersArgs);

struct MathArgs {
  const float* x = nullptr;
  float* out = nullptr;  ///< [kMathProbes][count]
  int count = 0;
};
inline constexpr int kMathProbes = 12;
QUERN_DECLARE_LAUNCHER(probe_math, MathArgs);

struct IntegersArgs {
  const unsigned* x = nullptr;
  unsigned* out = nullptr;  ///< [kIntegerProbes][count]
  int count = 0;
};
inline constexpr int kIntegerProbes = 9;
QUERN_DECLARE_LAUNCHER(probe_integers, IntegersArgs);

struct LayoutArgs {
  int* out = nullptr;  ///< coordinates of every thread, [block][thread][6]
};
QUERN_DECLARE_LAUNCHER(probe_coordinates, LayoutArgs);

struct SharedArgs {
  const float* in = nullptr;  ///< [256]
  float* out = nullptr;       ///< [256] reversed through static and dynamic shared memory
  std::size_t dynamic_bytes = 0;
};
QUERN_DECLARE_LAUNCHER(probe_shared, SharedArgs);

}  // namespace quern::kernels
