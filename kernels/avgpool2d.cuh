#pragma once

/// Average pooling. Contract of avgpool2d.forward and avgpool2d.backward in quern/op.hpp.

#include "kernels/launcher.hpp"
#include "kernels/pool_window.hpp"

namespace quern::kernels {

struct AvgPool2dForwardArgs {
  const float* x = nullptr;  ///< [batch, height, width, channels]
  float* y = nullptr;        ///< [batch, out_height, out_width, channels]
  PoolWindow window;
  int batch = 0, channels = 0;
  bool count_include_pad = false;
};

struct AvgPool2dBackwardArgs {
  const float* dy = nullptr;  ///< [batch, out_height, out_width, channels]
  const float* x =
      nullptr;          ///< [batch, height, width, channels]: the gradient counts where x > 0; null: no mask
  float* dx = nullptr;  ///< like x
  PoolWindow window;
  int batch = 0, channels = 0;
  bool count_include_pad = false;
};

QUERN_DECLARE_LAUNCHER(avgpool2d_forward, AvgPool2dForwardArgs);
QUERN_DECLARE_LAUNCHER(avgpool2d_backward, AvgPool2dBackwardArgs);

}  // namespace quern::kernels
