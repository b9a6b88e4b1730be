#pragma once

/// Tensor-core products of one warp, and the loads that feed them. All 32 lanes take part in every call.
///
/// Fragment layouts (PTX ISA, "Matrix Fragments for mma.m16n8k*"), with g = lane / 4 and t = lane % 4; A is
/// 16 x K row-major, B is K x 8 "column-major" (that is: stored as 8 rows of K), C and D are 16 x 8:
///
///   C, D   c[0] (g, 2t)   c[1] (g, 2t+1)   c[2] (g+8, 2t)   c[3] (g+8, 2t+1)          (row, column), all
///   shapes
///
///   m16n8k8 tf32     A  a[0] (g, t)   a[1] (g+8, t)   a[2] (g, t+4)   a[3] (g+8, t+4)     (row, k)
///                    B  b[0] (t, g)   b[1] (t+4, g)                                       (k, column)
///   m16n8k4 tf32     A  a[0] (g, t)   a[1] (g+8, t)
///                    B  b[0] (t, g)
///   m16n8k16 bf16    A  a[0] (g, 2t..2t+1)      a[1] (g+8, 2t..2t+1)
///                       a[2] (g, 2t+8..2t+9)    a[3] (g+8, 2t+8..2t+9)      two elements a register, the
///                       lower k in the low half
///                    B  b[0] (2t..2t+1, g)      b[1] (2t+8..2t+9, g)
///   m16n8k8 bf16     A  a[0] (g, 2t..2t+1)      a[1] (g+8, 2t..2t+1)
///                    B  b[0] (2t..2t+1, g)
///
/// tf32 operands are fp32 bit patterns whose low 13 bits are ignored: round them with to_tf32() first
/// (number.cuh), or they are truncated.
///
/// ldmatrix_xN loads N 8 x 8 matrices of 16-bit elements from shared memory. Lane 8*j + r holds the address
/// of row r of matrix j (16 bytes, 16-byte aligned); with x1 the addresses of lanes 0-7 count, with x2 those
/// of lanes 0-15, with x4 all.
///   d[j]             row g, columns 2t and 2t+1 of matrix j, the lower column in the low half
///   d[j], _trans     column g, rows 2t and 2t+1: the same, of the transposed matrix
/// So that for m16n8k16: x4 over A's four 8 x 8 quarters in the order (rows 0-7, k 0-7), (rows 8-15, k 0-7),
/// (rows 0-7, k 8-15), (rows 8-15, k 8-15) gives a[0..3]; x2 over B stored as 8 rows of 16 (halves k 0-7, k
/// 8-15) gives b[0..1], and where B is stored as 16 rows of 8, x2_trans over its upper and lower half does.
/// For tf32, where a 32-bit element is a pair of 16-bit ones, the untransposed forms serve likewise: a
/// "matrix" is then 8 rows of 4 elements.
///
/// mma needs sm_80; ldmatrix sm_75. Below, the kernel traps: implementations refuse such devices.

#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

#if defined(__CUDACC__)

#define QUERN_LDMATRIX(suffix, trans, count, registers, ...)                                               \
  __device__ __forceinline__ void ldmatrix_##suffix(std::uint32_t(&d)[count], const void* row) {           \
    const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));                             \
    asm volatile("ldmatrix.sync.aligned.m8n8.x" #count trans ".shared.b16 {" registers "}, [%" #count "];" \
                 : __VA_ARGS__                                                                             \
                 : "r"(address)                                                                            \
                 : "memory");                                                                              \
  }
QUERN_LDMATRIX(x1, "", 1, "%0", "=r"(d[0]))
QUERN_LDMATRIX(x1_trans, ".trans", 1, "%0", "=r"(d[0]))
QUERN_LDMATRIX(x2, "", 2, "%0, %1", "=r"(d[0]), "=r"(d[1]))
QUERN_LDMATRIX(x2_trans, ".trans", 2, "%0, %1", "=r"(d[0]), "=r"(d[1]))
QUERN_LDMATRIX(x4, "", 4, "%0, %1, %2, %3", "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]))
QUERN_LDMATRIX(x4_trans, ".trans", 4, "%0, %1, %2, %3", "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]))
#undef QUERN_LDMATRIX

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define QUERN_MMA_BODY(...) asm volatile(__VA_ARGS__)
#else
#define QUERN_MMA_BODY(...) __trap()
#endif

__device__ __forceinline__ void mma_m16n8k4_tf32(float (&d)[4], const std::uint32_t (&a)[2],
                                                 const std::uint32_t (&b)[1], const float (&c)[4]) {
  QUERN_MMA_BODY(
      "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%7, %8, %9, "
      "%10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(b[0]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                                 const std::uint32_t (&b)[2], const float (&c)[4]) {
  QUERN_MMA_BODY(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%10, %11, %12, %13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
        "f"(c[3]));
}

__device__ __forceinline__ void mma_m16n8k8_bf16(float (&d)[4], const std::uint32_t (&a)[2],
                                                 const std::uint32_t (&b)[1], const float (&c)[4]) {
  QUERN_MMA_BODY(
      "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%7, %8, %9, "
      "%10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(b[0]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2], const float (&c)[4]) {
  QUERN_MMA_BODY(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%10, %11, %12, %13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
        "f"(c[3]));
}
#undef QUERN_MMA_BODY

#else

#define QUERN_LDMATRIX(suffix, count, transposed)                                                 \
  __forceinline__ void ldmatrix_##suffix(std::uint32_t(&d)[count], const void* row, QUERN_SITE) { \
    simt::load_matrix(d, count, transposed, row, site);                                           \
  }
QUERN_LDMATRIX(x1, 1, false)
QUERN_LDMATRIX(x1_trans, 1, true)
QUERN_LDMATRIX(x2, 2, false)
QUERN_LDMATRIX(x2_trans, 2, true)
QUERN_LDMATRIX(x4, 4, false)
QUERN_LDMATRIX(x4_trans, 4, true)
#undef QUERN_LDMATRIX

#define QUERN_MMA(shape, a_registers, b_registers)                                                         \
  __forceinline__ void mma_##shape(float(&d)[4], const std::uint32_t(&a)[a_registers],                     \
                                   const std::uint32_t(&b)[b_registers], const float(&c)[4], QUERN_SITE) { \
    simt::matrix_multiply(simt::MmaShape::shape, d, a, b, c, site);                                        \
  }
QUERN_MMA(m16n8k4_tf32, 2, 1)
QUERN_MMA(m16n8k8_tf32, 4, 2)
QUERN_MMA(m16n8k8_bf16, 2, 1)
QUERN_MMA(m16n8k16_bf16, 4, 2)
#undef QUERN_MMA

#endif

}  // namespace quern::kernels::QUERN_TARGET
