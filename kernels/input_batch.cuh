#pragma once

/// Gathers a batch of uint8 images, normalises and, where asked to, augments them. Contract of
/// input_batch.forward in quern/op.hpp.

#include <cstdint>

#include "kernels/launcher.hpp"
#include "quern/op.hpp"

namespace quern::kernels {

struct InputBatchArgs {
  const std::uint8_t* images = nullptr;  ///< [M, height, width, channels]
  const std::uint8_t* labels = nullptr;  ///< [M]
  const std::uint32_t* order = nullptr;  ///< indices below M, at least step->order_offset + batch of them
  const StepScalars* step = nullptr;     ///< in device memory
  void* x = nullptr;                     ///< [batch, height, width, channels]
  std::int32_t* y = nullptr;             ///< [batch]
  int batch = 0, height = 0, width = 0, channels = 0;
  DType type = DType::f32;  ///< of x: f32 or bf16
  float mean = 0, stddev = 1;
  bool augment = false;
  float shift = 0, rotate = 0, scale = 0, shear = 0,
        elastic = 0;  ///< Augment of quern/op.hpp: pixels, degrees, a factor, degrees, pixels
  int erase = 0;      ///< the same: pixels
  float flip = 0;     ///< the same: a probability
  int crop = 0;       ///< the same: pixels
};

QUERN_DECLARE_LAUNCHER(input_batch_forward, InputBatchArgs);

}  // namespace quern::kernels
