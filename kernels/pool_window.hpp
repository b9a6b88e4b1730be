#pragma once

/// A pooling window over an image of known extents, for kernel arguments.

#include "quern/op.hpp"

namespace quern::kernels {

struct PoolWindow {
  int height = 0, width = 0;          ///< of the input
  int out_height = 0, out_width = 0;  ///< of the output
  int r = 1, s = 1, stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0;
};

/// From the descriptions of input [N,H,W,C] and output [N,P,Q,C].
inline PoolWindow pool_window(const Window& window, const Shape& input, const Shape& output) {
  PoolWindow w;
  w.height = static_cast<int>(input[1]);
  w.width = static_cast<int>(input[2]);
  w.out_height = static_cast<int>(output[1]);
  w.out_width = static_cast<int>(output[2]);
  w.r = window.r;
  w.s = window.s;
  w.stride_h = window.stride_h;
  w.stride_w = window.stride_w;
  w.pad_top = window.pad_top;
  w.pad_left = window.pad_left;
  return w;
}

}  // namespace quern::kernels
