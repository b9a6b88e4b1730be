#pragma once

/// Softmax, cross-entropy and its gradient in one pass. Contract of softmax_xent.forward in quern/op.hpp.

#include <cstdint>

#include "kernels/launcher.hpp"

namespace quern::kernels {

struct SoftmaxXentArgs {
  const void* logits = nullptr;                    ///< [rows, classes]
  const std::int32_t* labels = nullptr;            ///< [rows]; one outside of [0, classes) gives a NaN loss
  float* loss = nullptr;                           ///< [rows]
  void* dlogits = nullptr;                         ///< [rows, classes], or null: no gradient
  bool logits_bf16 = false, dlogits_bf16 = false;  ///< f32 otherwise
  int rows = 0, classes = 0;
  float label_smoothing = 0;
  float gradient_scale = 1;
};

QUERN_DECLARE_LAUNCHER(softmax_xent_forward, SoftmaxXentArgs);

}  // namespace quern::kernels
