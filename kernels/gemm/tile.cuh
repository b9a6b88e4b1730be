#pragma once

/// Tiles of a matrix product D[m, n] = sum over k of A[m, k] * B[k, n]: how a block divides its share among
/// warps, and how operand tiles lie in shared memory.

#include "kernels/intrinsics.cuh"
#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

/// Depth of one step of the main loop, in elements of k, for all precisions.
inline constexpr int kStepDepth = 32;

/// A block computes a kM x kN tile of D with kWarpsM x kWarpsN warps of kWarpM x kWarpN each, and keeps
/// kStages operand tiles of depth kStepDepth in shared memory.
template <int m, int n, int warp_m, int warp_n, int stages>
struct Tile {
  static constexpr int kM = m, kN = n;
  static constexpr int kWarpM = warp_m, kWarpN = warp_n;
  static constexpr int kWarpsM = m / warp_m, kWarpsN = n / warp_n;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kStages = stages;
  static_assert(m % warp_m == 0 && n % warp_n == 0);
};

// The tiles of gemm/plan.hpp. Four warps each.
using Tile32x32 = Tile<32, 32, 16, 16, 4>;
using Tile64x32 = Tile<64, 32, 32, 16, 4>;
using Tile64x64 = Tile<64, 64, 32, 32, 3>;
using Tile128x64 = Tile<128, 64, 64, 32, 3>;

/// Where a thread stands in its block. Lanes form an 8 x 4 grid, the one of the tensor cores' fragments, in
/// every precision: `group` 0..7 goes down the rows of D, `member` 0..3 along its columns.
template <class TileShape>
struct ThreadPosition {
  int thread, lane, group, member;
  int row, column;  ///< first row and column of the warp's part of the tile
  int warp_m, warp_n;

  __device__ __forceinline__ ThreadPosition() {
    thread = static_cast<int>(threadIdx.x);
    lane = thread % 32;
    group = lane / 4;
    member = lane % 4;
    const int warp = thread / 32;
    warp_m = warp / TileShape::kWarpsN;
    warp_n = warp % TileShape::kWarpsN;
    row = warp_m * TileShape::kWarpM;
    column = warp_n * TileShape::kWarpN;
  }
};

/// Which index of an operand is contiguous in memory, and therefore in its shared tile: k, or the one that is
/// D's row (for A) or column (for B).
enum class Major { k, outer };

/// A tile of `extent` rows or columns of D by kStepDepth of k in shared memory.
///
/// Major::k      one row of kStepDepth elements for every outer index, in 16-byte chunks whose order inside a
///               128-byte line is exclusive-ored with bits of the line's number. Free of bank conflicts for
///               what reads it: eight consecutive rows at one chunk (ldmatrix, and the FFMA kernel's A),
///               rows four apart at one chunk (its B), and four rows at two neighbouring chunks in 8-byte
///               pieces (weights of bf16 products).
/// Major::outer  one row of `extent` elements for every k, padded by `padding` elements, which shifts the
///               rows against each other; which padding serves depends on the reader.
template <class T, Major major, int extent, int padding = 0>
struct TileLayout {
  using Element = T;
  static constexpr Major kMajor = major;
  static constexpr int kExtent = extent;
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(T));
  static constexpr int kRow = major == Major::k ? kStepDepth : extent + padding;
  static constexpr int kElements = (major == Major::k ? extent : kStepDepth) * kRow;
  static_assert(kRow % kChunk == 0, "rows keep 16-byte alignment");

  static constexpr int kChunksPerRow = kRow / kChunk;  ///< Major::k: 8 for fp32, 4 for bf16
  static constexpr int kRowsPerLine = major == Major::k ? 8 / kChunksPerRow : 1;

  /// What to exclusive-or a chunk's place in its line with.
  static __device__ __forceinline__ int swizzle(int line) {
    if constexpr (kRowsPerLine == 2) return line & 3;  // the row's own bit, the highest, stays
    const int mixed = line ^ (line >> 3);
    return ((mixed & 3) << 1) | ((mixed >> 2) & 1);
  }

  /// Offset of element (outer, k). Elements of one 16-byte chunk along the major index are contiguous.
  static __device__ __forceinline__ int offset(int outer, int k) {
    if constexpr (major == Major::outer) {
      return k * kRow + outer;
    } else {
      const int line = outer / kRowsPerLine;
      const int chunk = outer % kRowsPerLine * kChunksPerRow + k / kChunk;
      return (line * 8 + (chunk ^ swizzle(line))) * kChunk + k % kChunk;
    }
  }
};

/// Whether a block reads the copied data again, so that they are worth a place in the first-level cache.
enum class Reuse { none, by_block };

/// Copies `count` elements (16, 4 or 2 bytes) to shared memory, or zeros. Asynchronous but for 2 bytes;
/// either way complete after the wait for the group that it belongs to and a __syncthreads(). `global` must
/// be a valid address also where nothing is copied from it.
template <int count, Reuse reuse, class T>
__device__ __forceinline__ void copy_or_zero(T* shared, const T* global, bool valid) {
  constexpr unsigned kBytes = count * sizeof(T);
  static_assert(kBytes == 16 || kBytes == 4 || kBytes == 2);
  if constexpr (kBytes == 16 && reuse == Reuse::by_block)
    cp_async_16_cached(shared, global, valid ? kBytes : 0);
  else if constexpr (kBytes == 16)
    cp_async_16(shared, global, valid ? kBytes : 0);
  else if constexpr (kBytes == 4)
    cp_async_4(shared, global, valid ? kBytes : 0);
  else
    *shared = valid ? *global : T{};
}

}  // namespace quern::kernels::QUERN_TARGET
