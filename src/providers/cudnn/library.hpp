#pragma once

/// cuDNN's entry points, looked up when the provider is first used on a GPU. Include this, never <cudnn.h>.

#include <cudnn.h>

#include <string>

#include "quern/implementation.hpp"

namespace quern::cudnn {

// Graph API, then the older one for what has no place in a graph.
#define QUERN_CUDNN_FUNCTIONS(X)                              \
  X(cudnnGetVersion)                                          \
  X(cudnnGetErrorString)                                      \
  X(cudnnCreate)                                              \
  X(cudnnDestroy)                                             \
  X(cudnnSetStream)                                           \
  X(cudnnBackendCreateDescriptor)                             \
  X(cudnnBackendDestroyDescriptor)                            \
  X(cudnnBackendSetAttribute)                                 \
  X(cudnnBackendGetAttribute)                                 \
  X(cudnnBackendFinalize)                                     \
  X(cudnnBackendExecute)                                      \
  X(cudnnCreateTensorDescriptor)                              \
  X(cudnnSetTensor4dDescriptorEx)                             \
  X(cudnnDestroyTensorDescriptor)                             \
  X(cudnnCreatePoolingDescriptor)                             \
  X(cudnnSetPooling2dDescriptor)                              \
  X(cudnnDestroyPoolingDescriptor)                            \
  X(cudnnPoolingForward)                                      \
  X(cudnnPoolingBackward)                                     \
  X(cudnnCreateActivationDescriptor)                          \
  X(cudnnSetActivationDescriptor)                             \
  X(cudnnDestroyActivationDescriptor)                         \
  X(cudnnActivationForward)                                   \
  X(cudnnActivationBackward)                                  \
  X(cudnnSetTensor)                                           \
  X(cudnnAddTensor)                                           \
  X(cudnnConvolutionBackwardBias)                             \
  X(cudnnBatchNormalizationForwardInference)                  \
  X(cudnnBatchNormalizationForwardTrainingEx)                 \
  X(cudnnBatchNormalizationBackwardEx)                        \
  X(cudnnGetBatchNormalizationTrainingExReserveSpaceSize)     \
  X(cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize) \
  X(cudnnGetBatchNormalizationBackwardExWorkspaceSize)

struct Library {
#define QUERN_CUDNN_MEMBER(name) decltype(&::name) name = nullptr;
  QUERN_CUDNN_FUNCTIONS(QUERN_CUDNN_MEMBER)
#undef QUERN_CUDNN_MEMBER
};

/// Why cuDNN cannot be used in this process ("libcudnn.so.9 not found: ..."), or nothing. The answer is kept.
Refusal library_refusal();

/// The entry points; throws a device error with library_refusal()'s reason.
const Library& library();

/// Throws a device error that names the call unless `status` is success.
void check(cudnnStatus_t status, const char* call);

#define QUERN_CUDNN(function, ...) \
  ::quern::cudnn::check(::quern::cudnn::library().function(__VA_ARGS__), #function)

}  // namespace quern::cudnn
