#include "providers/cudnn/tensors.hpp"

#include "quern/error.hpp"

namespace quern::cudnn {

cudnnDataType_t data_type(DType type) {
  QUERN_REQUIRE(type == DType::f32 || type == DType::bf16, "{} has no counterpart in cuDNN here",
                to_string(type));
  return type == DType::f32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
}

TensorLayout channels_last(const TensorDesc& desc) {
  const Shape& shape = desc.shape;
  QUERN_REQUIRE(shape.rank() == 4 || shape.rank() == 2, "{} is no activation", to_string(desc));
  const std::int64_t n = shape[0], c = shape[shape.rank() - 1];
  const std::int64_t h = shape.rank() == 4 ? shape[1] : 1, w = shape.rank() == 4 ? shape[2] : 1;
  return {data_type(desc.dtype), {n, c, h, w}, {h * w * c, 1, w * c, c}};
}

TensorLayout per_channel(std::int64_t channels) {
  return {CUDNN_DATA_FLOAT, {1, channels, 1, 1}, {channels, 1, channels, channels}};
}

}  // namespace quern::cudnn
