#pragma once

/// The built-in aggregate types of CUDA C++ (programming guide, "Built-in Vector Types"), with CUDA's names,
/// sizes and alignments, for builds without a CUDA toolkit. Plain data: operations live with the kernels.

#include <cstdint>

namespace quern::simt {

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

#define QUERN_VECTOR_TYPES(name, element, align2, align4) \
  struct alignas(align2) name##2 {                        \
    element x, y;                                         \
  };                                                      \
  struct alignas(align4) name##4 {                        \
    element x, y, z, w;                                   \
  };
QUERN_VECTOR_TYPES(float, float, 8, 16)
QUERN_VECTOR_TYPES(int, int, 8, 16)
QUERN_VECTOR_TYPES(uint, unsigned, 8, 16)
QUERN_VECTOR_TYPES(short, short, 4, 8)
QUERN_VECTOR_TYPES(ushort, unsigned short, 4, 8)
QUERN_VECTOR_TYPES(char, signed char, 2, 4)
QUERN_VECTOR_TYPES(uchar, unsigned char, 2, 4)
#undef QUERN_VECTOR_TYPES

struct float3 {
  float x, y, z;
};
struct alignas(16) double2 {
  double x, y;
};

/// bfloat16 as its bits: sign, 8 exponent bits, 7 mantissa bits.
struct alignas(2) bfloat16 {
  std::uint16_t bits;
};
struct alignas(4) bfloat162 {
  bfloat16 x, y;
};

}  // namespace quern::simt
