#pragma once

/// cuBLASLt's entry points, looked up when the provider is first used on a GPU. Include this, never
/// <cublasLt.h>.

#include <cublasLt.h>

#include "quern/implementation.hpp"

namespace quern::cublas {

#define QUERN_CUBLAS_FUNCTIONS(X)         \
  X(cublasLtGetStatusString)              \
  X(cublasLtCreate)                       \
  X(cublasLtMatmulDescCreate)             \
  X(cublasLtMatmulDescSetAttribute)       \
  X(cublasLtMatmulDescDestroy)            \
  X(cublasLtMatrixLayoutCreate)           \
  X(cublasLtMatrixLayoutDestroy)          \
  X(cublasLtMatmulPreferenceCreate)       \
  X(cublasLtMatmulPreferenceSetAttribute) \
  X(cublasLtMatmulPreferenceDestroy)      \
  X(cublasLtMatmulAlgoGetHeuristic)       \
  X(cublasLtMatmul)

struct Library {
#define QUERN_CUBLAS_MEMBER(name) decltype(&::name) name = nullptr;
  QUERN_CUBLAS_FUNCTIONS(QUERN_CUBLAS_MEMBER)
#undef QUERN_CUBLAS_MEMBER
};

/// Why cuBLASLt cannot be used in this process ("libcublasLt.so.13 not found: ..."), or nothing. The answer
/// is kept.
Refusal library_refusal();

/// The entry points; throws a device error with library_refusal()'s reason.
const Library& library();

/// Throws a device error that names the call unless `status` is success.
void check(cublasStatus_t status, const char* call);

#define QUERN_CUBLAS(function, ...) \
  ::quern::cublas::check(::quern::cublas::library().function(__VA_ARGS__), #function)

}  // namespace quern::cublas
