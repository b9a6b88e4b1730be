#pragma once

/// Global average pooling. Contract of global_avgpool.forward and global_avgpool.backward in quern/op.hpp.

#include "kernels/launcher.hpp"
#include "quern/tensor.hpp"

namespace quern::kernels {

struct GlobalAvgPoolForwardArgs {
  const void* x = nullptr;  ///< [batch, pixels, channels], pixels = height * width
  void* y = nullptr;        ///< [batch, channels]
  int batch = 0, pixels = 0, channels = 0;
  DType x_type = DType::f32, y_type = DType::f32;  ///< f32 or bf16; not f32 to bf16
};

struct GlobalAvgPoolBackwardArgs {
  const void* dy = nullptr;  ///< [batch, channels]
  const void* x = nullptr;   ///< [batch, pixels, channels]: the gradient counts where x > 0; null: no mask
  void* dx = nullptr;        ///< like x
  int batch = 0, pixels = 0, channels = 0;
  DType type = DType::f32;  ///< of all three
};

QUERN_DECLARE_LAUNCHER(global_avgpool_forward, GlobalAvgPoolForwardArgs);
QUERN_DECLARE_LAUNCHER(global_avgpool_backward, GlobalAvgPoolBackwardArgs);

}  // namespace quern::kernels
