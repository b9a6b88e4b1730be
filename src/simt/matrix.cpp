// ldmatrix and mma.sync. The fragment layouts are those of the PTX ISA, sections "Warp-level matrix load
// instruction: ldmatrix" and "Matrix Fragments for mma.m16n8k*"; kernels/intrinsics/mma.cuh describes them.

#include <bit>
#include <cstring>

#include "simt/collectives.hpp"

namespace quern::simt {

namespace {

struct MatrixLoad {
  const void* row;
  std::uint32_t* fragment;
  int matrices;
  bool transposed;
};

void exchange_load(void* const (&lanes)[kWarpSize]) {
  const auto& first = *static_cast<const MatrixLoad*>(lanes[0]);
  for (int matrix = 0; matrix < first.matrices; ++matrix) {
    std::uint16_t element[8][8];
    for (int row = 0; row < 8; ++row)
      std::memcpy(element[row], static_cast<const MatrixLoad*>(lanes[matrix * 8 + row])->row,
                  sizeof element[row]);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const int row = lane / 4, column = lane % 4 * 2;
      const std::uint32_t low = first.transposed ? element[column][row] : element[row][column];
      const std::uint32_t high = first.transposed ? element[column + 1][row] : element[row][column + 1];
      static_cast<MatrixLoad*>(lanes[lane])->fragment[matrix] = low | (high << 16);
    }
  }
}

struct Multiply {
  const std::uint32_t* a;
  const std::uint32_t* b;
  const float* c;
  float* d;
};

double tf32_value(std::uint32_t bits) {
  return static_cast<double>(std::bit_cast<float>(bits & 0xffffe000u));  // the low 13 bits are ignored
}

double bf16_value(std::uint32_t pair, int half) {
  return static_cast<double>(std::bit_cast<float>(half == 0 ? pair << 16 : pair & 0xffff0000u));
}

/// d = a * b + c for all fragments of a warp. K columns of A; `pairs` operands hold two elements a register.
template <int K, bool pairs>
void exchange_multiply(void* const (&lanes)[kWarpSize]) {
  double a[16][K], b[K][8], sum[16][8];
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const auto& operands = *static_cast<const Multiply*>(lanes[lane]);
    const int group = lane / 4, member = lane % 4;
    // Registers of A go down by 8 rows first, then right; a register spans 4 columns of the warp's tile, or 8
    // as pairs.
    constexpr int kSpan = pairs ? 8 : 4;
    for (int part = 0; part < K / kSpan; ++part) {
      for (int half = 0; half < (pairs ? 2 : 1); ++half) {
        const int k = part * kSpan + (pairs ? member * 2 + half : member);
        const auto value = [&](std::uint32_t bits) {
          return pairs ? bf16_value(bits, half) : tf32_value(bits);
        };
        a[group][k] = value(operands.a[part * 2]);
        a[group + 8][k] = value(operands.a[part * 2 + 1]);
        b[k][group] = value(operands.b[part]);
      }
    }
    for (int i = 0; i < 4; ++i)
      sum[group + i / 2 * 8][member * 2 + i % 2] = static_cast<double>(operands.c[i]);
  }
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < K; ++k)
      for (int column = 0; column < 8; ++column) sum[row][column] += a[row][k] * b[k][column];
  for (int lane = 0; lane < kWarpSize; ++lane) {
    float* const d = static_cast<const Multiply*>(lanes[lane])->d;
    const int group = lane / 4, member = lane % 4;
    for (int i = 0; i < 4; ++i) d[i] = static_cast<float>(sum[group + i / 2 * 8][member * 2 + i % 2]);
  }
}

}  // namespace

void load_matrix(std::uint32_t* fragment, int matrices, bool transposed, const void* row, Site site) {
  // The lanes whose addresses are used: 8 for each matrix.
  if (lane_index() < matrices * 8) check_shared_read(row, 16, "ldmatrix", site);
  MatrixLoad load{row, fragment, matrices, transposed};
  warp_collective("ldmatrix", kFullMask, &load, exchange_load, true, site);
}

void matrix_multiply(MmaShape shape, float (&d)[4], const std::uint32_t* a, const std::uint32_t* b,
                     const float (&c)[4], Site site) {
  Multiply operands{a, b, c, d};
  switch (shape) {
    case MmaShape::m16n8k4_tf32:
      return warp_collective("mma.m16n8k4.tf32", kFullMask, &operands, exchange_multiply<4, false>, true,
                             site);
    case MmaShape::m16n8k8_tf32:
      return warp_collective("mma.m16n8k8.tf32", kFullMask, &operands, exchange_multiply<8, false>, true,
                             site);
    case MmaShape::m16n8k8_bf16:
      return warp_collective("mma.m16n8k8.bf16", kFullMask, &operands, exchange_multiply<8, true>, true,
                             site);
    case MmaShape::m16n8k16_bf16:
      return warp_collective("mma.m16n8k16.bf16", kFullMask, &operands, exchange_multiply<16, true>, true,
                             site);
  }
}

}  // namespace quern::simt
