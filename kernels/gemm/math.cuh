#pragma once

/// The arithmetic of a kernel: how activations are stored, how tiles are multiplied, and the padding that the
/// rows of Major::outer tiles need so that the multiplication reads them without bank conflicts.

#include "kernels/activation.cuh"
#include "kernels/gemm/multiply_ffma.cuh"
#include "kernels/gemm/multiply_tensor_core.cuh"

namespace quern::kernels::QUERN_TARGET {

struct Fp32Math {
  using Activation = float;
  static constexpr int kActivationPadding = 4, kWeightPadding = 4;
  template <class TileShape, class LayoutA, class LayoutB, bool row_sums>
  using Multiply = FfmaMultiply<TileShape, LayoutA, LayoutB, row_sums>;
};

struct Tf32Math {
  using Activation = float;
  static constexpr int kActivationPadding = 8, kWeightPadding = 8;
  template <class TileShape, class LayoutA, class LayoutB, bool row_sums>
  using Multiply = Tf32Multiply<TileShape, LayoutA, LayoutB, row_sums>;
};

struct Bf16Math {
  using Activation = bf16;
  static constexpr int kActivationPadding = 8, kWeightPadding = 4;
  template <class TileShape, class LayoutA, class LayoutB, bool row_sums>
  using Multiply = Bf16Multiply<TileShape, LayoutA, LayoutB, row_sums>;
};

}  // namespace quern::kernels::QUERN_TARGET
