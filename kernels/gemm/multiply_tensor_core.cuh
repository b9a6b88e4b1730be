#pragma once

/// The product of two shared tiles on the tensor cores: mma.sync with tf32 or bf16 operands, fp32 sums.

#include "kernels/gemm/tile.cuh"

namespace quern::kernels::QUERN_TARGET {

/// What the two precisions share: accumulators in the layout of mma's C fragments, kRows and the rest as in
/// gemm/multiply_ffma.cuh. A warp's tile is (kRows / 2) x kGroups fragments of 16 x 8.
template <class TileShape, bool row_sums>
class MmaAccumulators {
 public:
  static constexpr int kRows = TileShape::kWarpM / 8;
  static constexpr int kVector = 2;
  static constexpr int kGroups = TileShape::kWarpN / 8;

  __device__ __forceinline__ MmaAccumulators() { clear(); }

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) row_sum_[i] = 0;
#pragma unroll
    for (int i = 0; i < kFragments; ++i)
#pragma unroll
      for (int j = 0; j < kGroups; ++j)
#pragma unroll
        for (int v = 0; v < 4; ++v) sum_[i][j][v] = 0;
  }

  __device__ __forceinline__ int row(int i) const {
    return at_.row + at_.group + 8 * i;
  }
  __device__ __forceinline__ int column(int j) const {
    return at_.column + 8 * j + 2 * at_.member;
  }
  __device__ __forceinline__ float& value(int i, int j, int v) {
    return sum_[i / 2][j][i % 2 * 2 + v];
  }
  __device__ __forceinline__ const ThreadPosition<TileShape>& at() const {
    return at_;
  }

  /// The row sum of row(i), complete in every lane. All lanes of the warp must ask.
  __device__ __forceinline__ float row_sum(int i) const {
    float sum = row_sum_[i];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    return sum + __shfl_xor_sync(0xffffffffu, sum, 2);
  }

 protected:
  static constexpr int kFragments = kRows / 2;

  ThreadPosition<TileShape> at_;
  float sum_[kFragments][kGroups][4];
  float row_sum_[kRows];
};

/// tf32: every operand is rounded to 10 mantissa bits as its fragment is loaded. Tiles hold fp32; where k is
/// contiguous ldmatrix loads them (a 32-bit element being two 16-bit ones), elsewhere single words, which
/// padding by 8 keeps apart.
template <class TileShape, class LayoutA, class LayoutB, bool row_sums>
class Tf32Multiply : public MmaAccumulators<TileShape, row_sums> {
  using Base = MmaAccumulators<TileShape, row_sums>;
  using Base::at_, Base::sum_, Base::row_sum_, Base::kFragments;

 public:
  using Base::kGroups;

  __device__ __forceinline__ void step(const float* a_tile, const float* b_tile, bool with_row_sums) {
#pragma unroll
    for (int k = 0; k < kStepDepth; k += 8) {
      std::uint32_t a[kFragments][4], b[kGroups][2];
      load_a(a, a_tile, k);
      load_b(b, b_tile, k);
      if constexpr (row_sums) {
        if (with_row_sums)
#pragma unroll
          for (int i = 0; i < kFragments; ++i) {
            row_sum_[2 * i] += __uint_as_float(a[i][0]) + __uint_as_float(a[i][2]);
            row_sum_[2 * i + 1] += __uint_as_float(a[i][1]) + __uint_as_float(a[i][3]);
          }
      }
#pragma unroll
      for (int i = 0; i < kFragments; ++i)
#pragma unroll
        for (int v = 0; v < 4; ++v) a[i][v] = to_tf32(__uint_as_float(a[i][v]));
#pragma unroll
      for (int j = 0; j < kGroups; ++j)
#pragma unroll
        for (int v = 0; v < 2; ++v) b[j][v] = to_tf32(__uint_as_float(b[j][v]));
#pragma unroll
      for (int i = 0; i < kFragments; ++i)
#pragma unroll
        for (int j = 0; j < kGroups; ++j) mma_m16n8k8_tf32(sum_[i][j], a[i], b[j], sum_[i][j]);
    }
  }

 private:
  __device__ __forceinline__ void load_a(std::uint32_t (&a)[kFragments][4], const float* tile, int k) const {
#pragma unroll
    for (int i = 0; i < kFragments; ++i) {
      if constexpr (LayoutA::kMajor == Major::k) {
        ldmatrix_x4(a[i], tile + LayoutA::offset(at_.row + 16 * i + at_.lane % 16, k + at_.lane / 16 * 4));
      } else {
#pragma unroll
        for (int v = 0; v < 4; ++v)
          a[i][v] = __float_as_uint(
              tile[LayoutA::offset(at_.row + 16 * i + v % 2 * 8 + at_.group, k + v / 2 * 4 + at_.member)]);
      }
    }
  }

  __device__ __forceinline__ void load_b(std::uint32_t (&b)[kGroups][2], const float* tile, int k) const {
    if constexpr (LayoutB::kMajor == Major::k) {
      static_assert(kGroups % 2 == 0);
#pragma unroll
      for (int j = 0; j < kGroups; j += 2) {
        std::uint32_t pair[4];
        const int column = at_.column + 8 * j + at_.lane / 16 * 8 + at_.lane % 8;
        ldmatrix_x4(pair, tile + LayoutB::offset(column, k + at_.lane / 8 % 2 * 4));
        b[j][0] = pair[0], b[j][1] = pair[1], b[j + 1][0] = pair[2], b[j + 1][1] = pair[3];
      }
    } else {
#pragma unroll
      for (int j = 0; j < kGroups; ++j)
#pragma unroll
        for (int v = 0; v < 2; ++v)
          b[j][v] =
              __float_as_uint(tile[LayoutB::offset(at_.column + 8 * j + at_.group, k + 4 * v + at_.member)]);
    }
  }
};

/// bf16: activations come as bf16 and are loaded by ldmatrix, transposed where k is not contiguous. Weights
/// stay fp32 in shared memory and are rounded in pairs as they are loaded; padding by 4 keeps the words of a
/// load apart.
template <class TileShape, class LayoutA, class LayoutB, bool row_sums>
class Bf16Multiply : public MmaAccumulators<TileShape, row_sums> {
  using Base = MmaAccumulators<TileShape, row_sums>;
  using Base::at_, Base::sum_, Base::row_sum_, Base::kFragments;
  using ElementB = typename LayoutB::Element;

 public:
  using Base::kGroups;

  __device__ __forceinline__ void step(const bf16* a_tile, const ElementB* b_tile, bool with_row_sums) {
#pragma unroll
    for (int k = 0; k < kStepDepth; k += 16) {
      std::uint32_t a[kFragments][4], b[kGroups][2];
      load_a(a, a_tile, k);
      load_b(b, b_tile, k);
      if constexpr (row_sums) {
        if (with_row_sums)
#pragma unroll
          for (int i = 0; i < kFragments; ++i)
#pragma unroll
            for (int v = 0; v < 4; ++v) {
              const float2 pair = unpack_bf16x2(a[i][v]);
              row_sum_[2 * i + v % 2] += pair.x + pair.y;
            }
      }
#pragma unroll
      for (int i = 0; i < kFragments; ++i)
#pragma unroll
        for (int j = 0; j < kGroups; ++j) mma_m16n8k16_bf16(sum_[i][j], a[i], b[j], sum_[i][j]);
    }
  }

 private:
  __device__ __forceinline__ void load_a(std::uint32_t (&a)[kFragments][4], const bf16* tile, int k) const {
    const int lane = at_.lane;
#pragma unroll
    for (int i = 0; i < kFragments; ++i) {
      const int row = at_.row + 16 * i;
      if constexpr (LayoutA::kMajor == Major::k)
        ldmatrix_x4(a[i], tile + LayoutA::offset(row + lane % 16, k + lane / 16 * 8));
      else
        ldmatrix_x4_trans(a[i], tile + LayoutA::offset(row + lane / 8 % 2 * 8, k + lane / 16 * 8 + lane % 8));
    }
  }

  __device__ __forceinline__ void load_b(std::uint32_t (&b)[kGroups][2], const ElementB* tile, int k) const {
    if constexpr (sizeof(ElementB) == 2) {
      static_assert(LayoutB::kMajor == Major::outer && kGroups % 2 == 0);
      const int lane = at_.lane;
#pragma unroll
      for (int j = 0; j < kGroups; j += 2) {
        std::uint32_t pair[4];
        const int column = at_.column + 8 * j + lane / 16 * 8;
        ldmatrix_x4_trans(pair, tile + LayoutB::offset(column, k + lane / 8 % 2 * 8 + lane % 8));
        b[j][0] = pair[0], b[j][1] = pair[1], b[j + 1][0] = pair[2], b[j + 1][1] = pair[3];
      }
    } else {
#pragma unroll
      for (int j = 0; j < kGroups; ++j)
#pragma unroll
        for (int v = 0; v < 2; ++v) {
          const int column = at_.column + 8 * j + at_.group, first = k + 8 * v + 2 * at_.member;
          if constexpr (LayoutB::kMajor == Major::k) {
            const float2 pair = *reinterpret_cast<const float2*>(tile + LayoutB::offset(column, first));
            b[j][v] = pack_bf16x2(pair.x, pair.y);
          } else {
            b[j][v] =
                pack_bf16x2(tile[LayoutB::offset(column, first)], tile[LayoutB::offset(column, first + 1)]);
          }
        }
    }
  }
};

}  // namespace quern::kernels::QUERN_TARGET
