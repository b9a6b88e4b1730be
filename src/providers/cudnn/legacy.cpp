#include "providers/cudnn/legacy.hpp"

namespace quern::cudnn {

TensorDescriptor::TensorDescriptor(const TensorLayout& layout) {
  const auto e = [&](std::size_t axis) { return static_cast<int>(layout.extents[axis]); };
  const auto s = [&](std::size_t axis) { return static_cast<int>(layout.strides[axis]); };
  QUERN_CUDNN(cudnnCreateTensorDescriptor, &raw_);
  QUERN_CUDNN(cudnnSetTensor4dDescriptorEx, raw_, layout.type, e(0), e(1), e(2), e(3), s(0), s(1), s(2),
              s(3));
}

TensorDescriptor::~TensorDescriptor() {
  if (raw_ != nullptr) library().cudnnDestroyTensorDescriptor(raw_);
}

PoolingDescriptor::PoolingDescriptor(const PoolingShape& shape) {
  QUERN_CUDNN(cudnnCreatePoolingDescriptor, &raw_);
  QUERN_CUDNN(cudnnSetPooling2dDescriptor, raw_, shape.mode, CUDNN_PROPAGATE_NAN, shape.r, shape.s,
              shape.pad_h, shape.pad_w, shape.stride_h, shape.stride_w);
}

PoolingDescriptor::~PoolingDescriptor() {
  if (raw_ != nullptr) library().cudnnDestroyPoolingDescriptor(raw_);
}

Relu::Relu(const TensorLayout& layout) : tensor_(layout) {
  QUERN_CUDNN(cudnnCreateActivationDescriptor, &raw_);
  QUERN_CUDNN(cudnnSetActivationDescriptor, raw_, CUDNN_ACTIVATION_RELU, CUDNN_PROPAGATE_NAN, 0.0);
}

Relu::~Relu() {
  if (raw_ != nullptr) library().cudnnDestroyActivationDescriptor(raw_);
}

void Relu::forward(cudnnHandle_t handle, const void* x, void* y) const {
  QUERN_CUDNN(cudnnActivationForward, handle, raw_, &kOne, tensor_.get(), x, &kZero, tensor_.get(), y);
}

void Relu::backward(cudnnHandle_t handle, const void* dy, const void* y, void* dx) const {
  // cuDNN takes the ReLU's input as well; (y > 0) says the same as (x > 0).
  QUERN_CUDNN(cudnnActivationBackward, handle, raw_, &kOne, tensor_.get(), y, tensor_.get(), dy,
              tensor_.get(), y, &kZero, tensor_.get(), dx);
}

}  // namespace quern::cudnn
