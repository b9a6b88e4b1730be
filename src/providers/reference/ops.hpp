#pragma once

/// The functions behind reference::run, one for each operation; each file instantiates its own for float and
/// double storage.

#include "quern/implementation.hpp"

namespace quern::reference {

// clang-format off
template <class Real> void input_batch_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void conv2d_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void conv2d_backward_data(const OpDesc& desc, const RunArgs& args);
template <class Real> void conv2d_backward_weights(const OpDesc& desc, const RunArgs& args);
template <class Real> void conv2d_backward(const OpDesc& desc, const RunArgs& args);
template <class Real> void dense_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void dense_backward_data(const OpDesc& desc, const RunArgs& args);
template <class Real> void dense_backward_weights(const OpDesc& desc, const RunArgs& args);
template <class Real> void dense_backward(const OpDesc& desc, const RunArgs& args);
template <class Real> void batchnorm_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void batchnorm_inference(const OpDesc& desc, const RunArgs& args);
template <class Real> void batchnorm_backward(const OpDesc& desc, const RunArgs& args);
template <class Real> void relu_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void relu_backward(const OpDesc& desc, const RunArgs& args);
template <class Real> void maxpool2d_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void maxpool2d_backward(const OpDesc& desc, const RunArgs& args);
template <class Real> void avgpool2d_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void avgpool2d_backward(const OpDesc& desc, const RunArgs& args);
template <class Real> void global_avgpool_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void global_avgpool_backward(const OpDesc& desc, const RunArgs& args);
template <class Real> void dropout_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void dropout_backward(const OpDesc& desc, const RunArgs& args);
template <class Real> void add_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void softmax_xent_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void metrics_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void guard_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void optimizer_forward(const OpDesc& desc, const RunArgs& args);
template <class Real> void ema_forward(const OpDesc& desc, const RunArgs& args);
// clang-format on

}  // namespace quern::reference

/// Instantiates one of the functions above, at the end of the file that defines it.
#define QUERN_REFERENCE_INSTANTIATE(function)                                     \
  template void function<float>(const ::quern::OpDesc&, const ::quern::RunArgs&); \
  template void function<double>(const ::quern::OpDesc&, const ::quern::RunArgs&)
