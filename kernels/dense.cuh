#pragma once

/// Dense layers. Contracts of dense.forward, dense.backward_data and dense.backward_weights in quern/op.hpp:
///
///   y[n, k] = sum over c of x[n, c] * w[k, c]    (+ bias, ReLU, statistics; and its gradients)
///
/// This is the convolution of a 1 x 1 image by a 1 x 1 filter, in memory as in arithmetic, and so the
/// implicit products of conv2d.cuh are its kernels: no line of theirs is written twice. What a dense layer
/// pays for it is a handful of integer instructions a copy of 16 bytes, and one table entry for its single
/// tap. What is special about its shapes is in the plan: small batches have few tiles and much depth, so that
/// plan_gemm() splits the sum.
///
/// Floor on an H200 (4.3 TB/s measured by copies, 67 TFLOP/s fp32 and 495 TFLOP/s dense tf32 by the
/// datasheet) for the seed nets' layers; all are launches of one kernel each, bound by latency at batch 64:
///
///                 batch 64                          batch 1024
///   3136 -> 128   2.4 MB, 51 MFLOP:  0.8 us fp32    15.0 MB, 822 MFLOP: 12 us fp32, 3.5 us tf32
///   128 -> 10     0.04 MB, 0.2 MFLOP: 0.01 us       0.6 MB, 2.6 MFLOP: 0.13 us
///
/// each of forward, backward_data and backward_weights alike.

#include "kernels/conv2d.cuh"

namespace quern::kernels {

inline Conv2dShape dense_shape(int n, int c, int k) {
  Conv2dShape shape;
  shape.n = n;
  shape.c = c;
  shape.k = k;
  shape.h = shape.w = shape.p = shape.q = 1;
  return shape;
}

}  // namespace quern::kernels
