#pragma once

/// A fully connected layer by square tiles: the worked example of kernels/README.md.

#include "kernels/launcher.hpp"

namespace quern::kernels {

struct TiledDenseArgs {
  const float* x = nullptr;     ///< [batch, inputs]
  const float* w = nullptr;     ///< [outputs, inputs]
  const float* bias = nullptr;  ///< [outputs], or null
  float* y = nullptr;           ///< [batch, outputs]
  int batch = 0, inputs = 0, outputs = 0;
  bool relu = false;
};

QUERN_DECLARE_LAUNCHER(tiled_dense, TiledDenseArgs);

}  // namespace quern::kernels
