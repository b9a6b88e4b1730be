#pragma once

/// Owned descriptors of cuDNN's older API, which serves what its graphs do not.

#include <utility>

#include "providers/cudnn/tensors.hpp"

namespace quern::cudnn {

inline constexpr float kOne = 1, kZero = 0;

class TensorDescriptor {
 public:
  explicit TensorDescriptor(const TensorLayout& layout);
  ~TensorDescriptor();
  TensorDescriptor(TensorDescriptor&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  TensorDescriptor(const TensorDescriptor&) = delete;
  TensorDescriptor& operator=(const TensorDescriptor&) = delete;
  cudnnTensorDescriptor_t get() const noexcept { return raw_; }

 private:
  cudnnTensorDescriptor_t raw_ = nullptr;
};

struct PoolingShape {
  cudnnPoolingMode_t mode = CUDNN_POOLING_MAX_DETERMINISTIC;
  int r = 1, s = 1, pad_h = 0, pad_w = 0, stride_h = 1, stride_w = 1;
};

class PoolingDescriptor {
 public:
  explicit PoolingDescriptor(const PoolingShape& shape);
  ~PoolingDescriptor();
  PoolingDescriptor(const PoolingDescriptor&) = delete;
  PoolingDescriptor& operator=(const PoolingDescriptor&) = delete;
  cudnnPoolingDescriptor_t get() const noexcept { return raw_; }

 private:
  cudnnPoolingDescriptor_t raw_ = nullptr;
};

/// ReLU over tensors of one layout; a NaN stays NaN.
class Relu {
 public:
  explicit Relu(const TensorLayout& layout);
  ~Relu();
  Relu(const Relu&) = delete;
  Relu& operator=(const Relu&) = delete;

  /// y may be x.
  void forward(cudnnHandle_t handle, const void* x, void* y) const;
  /// dx = dy where y > 0, else 0; dx may be dy.
  void backward(cudnnHandle_t handle, const void* dy, const void* y, void* dx) const;

 private:
  TensorDescriptor tensor_;
  cudnnActivationDescriptor_t raw_ = nullptr;
};

}  // namespace quern::cudnn
