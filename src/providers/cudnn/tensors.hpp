#pragma once

/// Quern's layouts as cuDNN names them: extents are always in the order N, C, H, W (filters K, C/G, R, S),
/// the strides say that channels are innermost.

#include <array>
#include <cstdint>

#include "providers/cudnn/library.hpp"
#include "quern/tensor.hpp"

namespace quern::cudnn {

struct TensorLayout {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  std::array<std::int64_t, 4> extents{}, strides{};
  bool operator==(const TensorLayout&) const = default;
};

/// f32 and bf16; throws an internal error for others.
cudnnDataType_t data_type(DType type);

/// [N,H,W,C], [N,C] (as images of one pixel) or KRSC filters: what the last axis of Quern's shape is comes
/// second.
TensorLayout channels_last(const TensorDesc& desc);

/// One number a channel, to be spread over an activation of four axes.
TensorLayout per_channel(std::int64_t channels);

}  // namespace quern::cudnn
