#pragma once

/// Max-pooling. Contract of maxpool2d.forward and maxpool2d.backward in quern/op.hpp; images of
/// f32 or bf16.

#include <cstdint>

#include "kernels/launcher.hpp"
#include "kernels/pool_window.hpp"

namespace quern::kernels {

struct MaxPool2dForwardArgs {
  const void* x = nullptr;         ///< [batch, height, width, channels]
  void* y = nullptr;               ///< [batch, out_height, out_width, channels]
  std::uint8_t* argmax = nullptr;  ///< like y, tap r * S + s; null: not wanted
  PoolWindow window;
  int batch = 0, channels = 0;
  DType type = DType::f32;  ///< of all images
};

struct MaxPool2dBackwardArgs {
  const void* dy = nullptr;              ///< [batch, out_height, out_width, channels]
  const std::uint8_t* argmax = nullptr;  ///< like dy
  const void* y = nullptr;               ///< like dy: the gradient counts where y > 0; null: no mask
  void* dx = nullptr;                    ///< [batch, height, width, channels]
  PoolWindow window;
  int batch = 0, channels = 0;
  DType type = DType::f32;  ///< of all images
};

QUERN_DECLARE_LAUNCHER(maxpool2d_forward, MaxPool2dForwardArgs);
QUERN_DECLARE_LAUNCHER(maxpool2d_backward, MaxPool2dBackwardArgs);

}  // namespace quern::kernels
