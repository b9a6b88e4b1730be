#pragma once

/// Average pooling. Contract of avgpool2d.forward and avgpool2d.backward in quern/op.hpp; images of
/// f32 or bf16.

#include "kernels/launcher.hpp"
#include "kernels/pool_window.hpp"

namespace quern::kernels {

struct AvgPool2dForwardArgs {
  const void* x = nullptr;  ///< [batch, height, width, channels]
  void* y = nullptr;        ///< [batch, out_height, out_width, channels]
  PoolWindow window;
  int batch = 0, channels = 0;
  DType type = DType::f32;  ///< of all images
  bool count_include_pad = false;
};

struct AvgPool2dBackwardArgs {
  const void* dy = nullptr;  ///< [batch, out_height, out_width, channels]
  const void* x =
      nullptr;         ///< [batch, height, width, channels]: the gradient counts where x > 0; null: no mask
  void* dx = nullptr;  ///< like x
  PoolWindow window;
  int batch = 0, channels = 0;
  DType type = DType::f32;  ///< of all images
  bool count_include_pad = false;
};

QUERN_DECLARE_LAUNCHER(avgpool2d_forward, AvgPool2dForwardArgs);
QUERN_DECLARE_LAUNCHER(avgpool2d_backward, AvgPool2dBackwardArgs);

}  // namespace quern::kernels
