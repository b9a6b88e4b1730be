#pragma once

/// The product of two shared tiles in full single precision, by fused multiply-adds on the CUDA cores.

#include "kernels/gemm/tile.cuh"

namespace quern::kernels::QUERN_TARGET {

/// What an epilogue needs of every Multiply: a thread holds value(i, j, v) for i < kRows, j < kGroups, v <
/// kVector, at row row(i) and column column(j) + v of the block's tile. Adding up, over k, the rows of A as
/// they pass by is an option (`row_sums`): the bias' gradient, when A is the output's.
///
/// Per four k a thread reads kRows + kColumns 16-byte vectors and does 4 * kRows * kColumns FFMA. Where k is
/// contiguous a vector is one row's next four k; where it is not, four rows at one k, and then a thread's
/// rows are neighbours in fours (in twos in the smallest tile).
template <class TileShape, class LayoutA, class LayoutB, bool row_sums>
class FfmaMultiply {
 public:
  static constexpr int kRows = TileShape::kWarpM / 8;
  static constexpr int kVector = 4;
  static constexpr int kGroups = TileShape::kWarpN / (4 * kVector);

  __device__ __forceinline__ FfmaMultiply() { clear(); }

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      row_sum_[i] = 0;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) sum_[i][c] = 0;
    }
  }

  /// Adds the product of one step's tiles. `with_row_sums` must be the same for all threads of a warp.
  __device__ __forceinline__ void step(const float* a_tile, const float* b_tile, bool with_row_sums) {
    if constexpr (LayoutA::kMajor == Major::k) {
      static_assert(!row_sums);
#pragma unroll kUnroll
      for (int k = 0; k < kStepDepth; k += 4) {
        float b[4][kColumns];
        load_b(b, b_tile, k);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          const float4 a = load4(a_tile + LayoutA::offset(row(i), k));
          multiply_add(i, a.x, b[0]);
          multiply_add(i, a.y, b[1]);
          multiply_add(i, a.z, b[2]);
          multiply_add(i, a.w, b[3]);
        }
      }
    } else {
      static_assert(LayoutB::kMajor == Major::outer);
#pragma unroll 8
      for (int k = 0; k < kStepDepth; ++k) {
        float a[kRows], b[kColumns];
        load_a(a, a_tile, k);
        load_b(b, b_tile, k);
#pragma unroll
        for (int i = 0; i < kRows; ++i) multiply_add(i, a[i], b);
        if (row_sums && with_row_sums)
#pragma unroll
          for (int i = 0; i < kRows; ++i) row_sum_[i] += a[i];
      }
    }
  }

  __device__ __forceinline__ int row(int i) const {
    if constexpr (LayoutA::kMajor == Major::k)
      return at_.row + at_.group + 8 * i;
    else
      return at_.row + i / kRowVector * (8 * kRowVector) + at_.group * kRowVector + i % kRowVector;
  }
  __device__ __forceinline__ int column(int j) const {
    return at_.column + 4 * kVector * j + kVector * at_.member;
  }
  __device__ __forceinline__ float& value(int i, int j, int v) {
    return sum_[i][kVector * j + v];
  }
  __device__ __forceinline__ const ThreadPosition<TileShape>& at() const {
    return at_;
  }

  /// The row sum of row(i), complete in every lane.
  __device__ __forceinline__ float row_sum(int i) const {
    return row_sum_[i];
  }

 private:
  static constexpr int kColumns = kGroups * kVector;
  /// Unrolled further, the compiler loads so far ahead that the largest tile spills.
  static constexpr int kUnroll = kRows * kColumns < 64 ? 2 : 1;
  static constexpr int kRowVector = kRows < 4 ? kRows : 4;  ///< neighbouring rows of a thread, Major::outer
  static_assert(kRowVector == 2 || kRowVector == 4);

  __device__ __forceinline__ void multiply_add(int i, float a, const float (&b)[kColumns]) {
#pragma unroll
    for (int c = 0; c < kColumns; ++c) sum_[i][c] = __fmaf_rn(a, b[c], sum_[i][c]);
  }

  __device__ __forceinline__ void load_a(float (&a)[kRows], const float* tile, int k) const {
#pragma unroll
    for (int i = 0; i < kRows; i += kRowVector) {
      const float* const source = tile + LayoutA::offset(row(i), k);
      if constexpr (kRowVector == 4) {
        const float4 v = load4(source);
        a[i] = v.x, a[i + 1] = v.y, a[i + 2] = v.z, a[i + 3] = v.w;
      } else {
        a[i] = source[0], a[i + 1] = source[1];
      }
    }
  }

  __device__ __forceinline__ void load_b(float (&b)[kColumns], const float* tile, int k) const {
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      const float4 v = load4(tile + LayoutB::offset(column(j), k));
      b[4 * j] = v.x, b[4 * j + 1] = v.y, b[4 * j + 2] = v.z, b[4 * j + 3] = v.w;
    }
  }

  /// Columns at four k.
  __device__ __forceinline__ void load_b(float (&b)[4][kColumns], const float* tile, int k) const {
    if constexpr (LayoutB::kMajor == Major::k) {
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const float4 v = load4(tile + LayoutB::offset(column(c / kVector) + c % kVector, k));
        b[0][c] = v.x, b[1][c] = v.y, b[2][c] = v.z, b[3][c] = v.w;
      }
    } else {
#pragma unroll
      for (int d = 0; d < 4; ++d) load_b(b[d], tile, k + d);
    }
  }

  ThreadPosition<TileShape> at_;
  float sum_[kRows][kColumns];
  float row_sum_[kRows];
};

}  // namespace quern::kernels::QUERN_TARGET
