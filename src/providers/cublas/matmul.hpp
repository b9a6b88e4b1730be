#pragma once

/// A dense layer as one product D = op(A) * op(B) of cuBLASLt's column-major matrices. A row-major [R,C]
/// tensor is a column-major C x R matrix, so every product is written transposed:
///
///   forward           y^T  (K x N) = w (C x K)^T * x (C x N)          epilogue: bias, ReLU
///   backward_data     dx^T (C x N) = w (C x K)   * dy (K x N)
///   backward_weights  dw^T (C x K) = x (C x N)   * dy (K x N)^T       epilogue: sums of dy over N
///
/// Letters as in quern/op.hpp.

#include "providers/cublas/library.hpp"

namespace quern::cublas {

/// A matrix as it is stored.
struct Matrix {
  std::int64_t rows = 0, columns = 0;  ///< the leading dimension is `rows`
  cudaDataType_t type = CUDA_R_32F;
  bool transposed = false;  ///< for the product
  bool operator==(const Matrix&) const = default;
};

struct Matmul {
  Matrix a, b, d;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  cudaDataType_t bias = CUDA_R_32F;  ///< or of the bias's gradient
  bool cast_weights = false;         ///< f32 in memory, bf16 in the product
  bool cast_bias = false;            ///< the same
  bool operator==(const Matmul&) const = default;
};

Matmul matmul_of(const OpDesc& desc);

/// From the description alone.
Refusal refuse_dense(const OpDesc& desc, const DeviceInfo& device);

/// Ways of splitting the inner sum over blocks that may be taken: those whose parts meet in a fixed order, or
/// all.
std::uint32_t reduction_schemes(bool nondeterministic);

}  // namespace quern::cublas
