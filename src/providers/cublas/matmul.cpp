#include "providers/cublas/matmul.hpp"

#include <fmt/format.h>

#include <limits>

namespace quern::cublas {

namespace {

cudaDataType_t type_of(const TensorDesc& desc) {
  return desc.dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

/// A row-major tensor as it lies in memory.
Matrix matrix(const TensorDesc& desc, bool transposed = false) {
  return {desc.shape[1], desc.shape[0], type_of(desc), transposed};
}

}  // namespace

Matmul matmul_of(const OpDesc& desc) {
  const auto& attrs = desc.as<DenseAttrs>();
  const bool bf16 = desc.precision == Precision::bf16;
  Matmul product;
  if (desc.precision == Precision::tf32) product.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  product.d = matrix(desc.outputs[0]);
  switch (desc.op.direction) {
    case Direction::forward:
      product.a = matrix(desc.inputs[1], true);
      product.b = matrix(desc.inputs[0]);
      if (attrs.bias)
        product.epilogue = attrs.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
      else if (attrs.relu)
        product.epilogue = CUBLASLT_EPILOGUE_RELU;
      product.bias = product.d.type;  // the library wants them alike
      product.cast_bias = attrs.bias && product.bias == CUDA_R_16BF;
      break;
    case Direction::backward_data:
      product.a = matrix(desc.inputs[1]);
      product.b = matrix(desc.inputs[0]);
      break;
    default:
      product.a = matrix(desc.inputs[1]);
      product.b = matrix(desc.inputs[0], true);
      if (attrs.bias) product.epilogue = CUBLASLT_EPILOGUE_BGRADB;
      return product;
  }
  product.cast_weights = bf16;
  if (bf16) product.a.type = CUDA_R_16BF;
  return product;
}

Refusal refuse_dense(const OpDesc& desc, const DeviceInfo& device) {
  const auto& attrs = desc.as<DenseAttrs>();
  if (desc.precision != Precision::fp32 && device.sm < 80)
    return fmt::format("needs sm_80 or later for {}, this is sm_{}", to_string(desc.precision), device.sm);
  if (desc.op.direction == Direction::forward && attrs.stats)
    return "needs stats off: cuBLASLt has no epilogue for statistics";
  if (desc.op.direction == Direction::backward_data && attrs.mask)
    return "needs mask off: cuBLASLt masks with bits that its own forward wrote, not with x";
  const DType wanted = desc.precision == Precision::bf16 ? DType::bf16 : DType::f32;
  const bool weights = desc.op.direction == Direction::backward_weights;
  for (const TensorDesc& factor : {desc.inputs[0], desc.inputs[weights ? 1 : 0]})
    if (factor.dtype != wanted)
      return fmt::format("needs its input in {}, got {}", to_string(wanted), to_string(factor));
  for (const auto* list : {&desc.inputs, &desc.outputs})
    for (const TensorDesc& tensor : *list)
      for (const std::int64_t extent : tensor.shape.extents())
        if (extent > std::numeric_limits<std::int32_t>::max())
          return fmt::format("needs extents below 2^31, got {}", to_string(tensor));
  return {};
}

std::uint32_t reduction_schemes(bool nondeterministic) {
  if (nondeterministic) return CUBLASLT_REDUCTION_SCHEME_MASK;
  return CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
}

}  // namespace quern::cublas
