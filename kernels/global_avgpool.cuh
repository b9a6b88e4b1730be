#pragma once

/// Global average pooling. Contract of global_avgpool.forward and global_avgpool.backward in quern/op.hpp.

#include "kernels/launcher.hpp"

namespace quern::kernels {

struct GlobalAvgPoolForwardArgs {
  const float* x = nullptr;  ///< [batch, pixels, channels], pixels = height * width
  float* y = nullptr;        ///< [batch, channels]
  int batch = 0, pixels = 0, channels = 0;
};

struct GlobalAvgPoolBackwardArgs {
  const float* dy = nullptr;  ///< [batch, channels]
  const float* x = nullptr;   ///< [batch, pixels, channels]: the gradient counts where x > 0; null: no mask
  float* dx = nullptr;        ///< like x
  int batch = 0, pixels = 0, channels = 0;
};

QUERN_DECLARE_LAUNCHER(global_avgpool_forward, GlobalAvgPoolForwardArgs);
QUERN_DECLARE_LAUNCHER(global_avgpool_backward, GlobalAvgPoolBackwardArgs);

}  // namespace quern::kernels
