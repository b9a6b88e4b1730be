#pragma once

/// Batch normalisation, with the ReLUs and the max-pooling around it fused. Contract of batchnorm.* in
/// quern/op.hpp. Rows are everything but the channel: batch, or batch * height * width. Images are f32 or
/// bf16, everything else f32.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/launcher.hpp"
#include "kernels/pool_window.hpp"

namespace quern::kernels {

/// How the reductions over rows are spread: a function of the shape alone, so that sums come out the same on
/// every device.
struct RowTiling {
  int width = 1;       ///< channels a thread holds: 16 bytes of them, or 1
  int lanes = 1;       ///< threads side by side along the channels, a power of two up to 32
  int row_blocks = 1;  ///< blocks along the rows
  int rows_per_block = 1;
};

inline constexpr int kNormThreads = 256;

/// At least four rows a thread, at most 256 blocks: two waves of a large GPU, and little to merge.
inline std::int64_t row_block_limit(std::int64_t rows, int lanes) {
  return std::clamp<std::int64_t>(rows / (4 * (kNormThreads / lanes)), 1, 256);
}

inline RowTiling row_tiling(std::int64_t rows, int channels, DType type) {
  RowTiling t;
  const int pack = 16 / static_cast<int>(size_of(type));
  t.width = channels % pack == 0 ? pack : 1;
  const int groups = channels / t.width;
  while (t.lanes < 32 && t.lanes < groups) t.lanes *= 2;
  const std::int64_t blocks = row_block_limit(rows, t.lanes);
  t.rows_per_block = static_cast<int>((rows + blocks - 1) / blocks);
  t.row_blocks = static_cast<int>((rows + t.rows_per_block - 1) / t.rows_per_block);
  return t;
}

/// Workspace of the forward (without given statistics) and the backward: two floats a channel for every block
/// of rows. Never shrinks as rows are added, so that what serves the rows of x serves the fewer ones of a
/// pooled gradient.
inline std::size_t batchnorm_workspace(std::int64_t rows, int channels, DType type) {
  const std::int64_t blocks = row_block_limit(rows, row_tiling(rows, channels, type).lanes);
  return static_cast<std::size_t>(blocks) * 2 * static_cast<std::size_t>(channels) * sizeof(float);
}

/// batchnorm.forward, and batchnorm.inference where `saved` is null.
struct BatchNormForwardArgs {
  const void* x = nullptr;  ///< [rows, channels]
  const float* gamma = nullptr;
  const float* beta = nullptr;
  const float* stats = nullptr;         ///< [2, channels] mean and variance; null: computed here
  const float* running_mean = nullptr;  ///< inference: what to normalise by; training: before
  const float* running_var = nullptr;
  void* y = nullptr;               ///< like x, or [batch, out_height, out_width, channels] where pooled
  std::uint8_t* argmax = nullptr;  ///< like y; null: not wanted
  float* saved = nullptr;          ///< [2, channels]; null: inference
  float* new_running_mean = nullptr;
  float* new_running_var = nullptr;
  float* workspace = nullptr;  ///< batchnorm_workspace() bytes where stats is null and saved is not
  std::int64_t rows = 0;
  int channels = 0;
  DType type = DType::f32;  ///< of x and y
  float momentum = 0, epsilon = 0;
  bool relu = false;
  bool pool = false;
  PoolWindow window;  ///< where pooled; rows = batch * window.height * window.width
};

struct BatchNormBackwardArgs {
  const void* dy = nullptr;  ///< like y of the forward
  const void* x = nullptr;   ///< [rows, channels]
  const float* gamma = nullptr;
  const float* saved = nullptr;          ///< [2, channels]: mean, 1 / sqrt(var + epsilon)
  const void* y = nullptr;               ///< like dy: the gradient counts where y > 0; null: no ReLU after
  const std::uint8_t* argmax = nullptr;  ///< like dy, where pooled
  void* dx = nullptr;                    ///< like x
  float* dgamma = nullptr;
  float* dbeta = nullptr;
  float* workspace = nullptr;    ///< batchnorm_workspace() bytes, for rows of dy
  unsigned* counters = nullptr;  ///< one: the barrier between the phases; zero before and after
  int multiprocessors = 1;
  std::int64_t rows = 0;
  int channels = 0;
  DType type = DType::f32;  ///< of dy, x, y and dx
  bool relu = false;        ///< a ReLU follows the normalisation: y is given
  bool mask = false;        ///< multiply dx by (x > 0)
  bool pool = false;
  PoolWindow window;
};

QUERN_DECLARE_LAUNCHER(batchnorm_forward, BatchNormForwardArgs);
QUERN_DECLARE_LAUNCHER(batchnorm_backward, BatchNormBackwardArgs);

}  // namespace quern::kernels
