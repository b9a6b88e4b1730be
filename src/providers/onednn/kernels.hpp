#pragma once

/// The provider's own kernels as plain functions: one table per instruction set, the same source compiled for
/// each (isa/). A kernel works on one thread's share; threads, workspaces and the order of the passes are the
/// callers' business. All tensors are f32, channels innermost; steps are in elements.

#include <cstddef>
#include <cstdint>

namespace quern::onednn {

/// What happens to a finished output before it is stored, in this order.
struct Epilogue {
  const float* bias = nullptr;  ///< [K]: where the sums start
  bool relu = false;
  const float* mask = nullptr;  ///< laid out like the output; out = mask > 0 ? out : 0
  /// Sums of (out - shift) and (out - shift)^2 per channel, [K rounded up to whole vectors]; null: none.
  const float* shift = nullptr;
  float* sum = nullptr;
  float* sum_squares = nullptr;
};

/// out[p][q][k] = sum over j of x[p * x_row + q * x_pixel + taps[j]] * w[j][k]: a convolution's forward over
/// a block of rows, its backward to the data, or a plain matrix product.
struct ProductRows {
  int rows = 1, cols = 0;
  const float* x = nullptr;
  std::ptrdiff_t x_row = 0, x_pixel = 0;
  const std::int32_t* taps = nullptr;
  int n_taps = 0;
  /// Taps that row p uses; null: all. Rows outside the image are skipped this way instead of read as zero.
  const std::int32_t* tap_begin = nullptr;
  const std::int32_t* tap_end = nullptr;
  /// Panels of panel_floats columns (the last one narrower, a whole number of vectors), each [n_taps][width];
  /// or, with w_step > 0, a plain matrix [n_taps][w_step] with K a whole number of vectors.
  const float* w = nullptr;
  std::ptrdiff_t w_step = 0;
  int k = 0;
  float* out = nullptr;
  std::ptrdiff_t out_row = 0, out_pixel = 0;
  Epilogue epilogue;
};

/// out[j][k] (+)= sum over p, q of a[p * a_row + q * a_pixel + taps[j]] * b[p * b_row + q * b_pixel + k]: the
/// weight gradient of a convolution or of a dense layer.
struct OuterRows {
  int rows = 1, cols = 0;
  const float* a = nullptr;
  std::ptrdiff_t a_row = 0, a_pixel = 0;
  const std::int32_t* taps = nullptr;
  int n_taps = 0;
  const float* b = nullptr;
  std::ptrdiff_t b_row = 0, b_pixel = 0;
  int k = 0;
  float* out = nullptr;
  std::ptrdiff_t out_step = 0;
  bool accumulate = false;
};

/// out[i][k] = bias[k] + sum over c of x[i][c] * w[k][c], then ReLU: dense forward.
struct DotRows {
  int rows = 0, k = 0, c = 0;
  const float* x = nullptr;
  const float* w = nullptr;
  const float* bias = nullptr;
  bool relu = false;
  float* out = nullptr;
  std::ptrdiff_t x_step = 0, w_step = 0, out_step = 0;
};

/// w[K][taps] (row k at k * w_step) -> panels of ProductRows for the taps [begin, end).
struct PackTransposed {
  const float* w = nullptr;
  std::ptrdiff_t w_step = 0;
  int k = 0, n_taps = 0;
  int begin = 0, end = 0;
  float* out = nullptr;
};

/// Rows of k floats at w + offsets[j] -> panels of ProductRows for the taps [begin, end).
struct PackRows {
  const float* w = nullptr;
  const std::int64_t* offsets = nullptr;
  int k = 0, n_taps = 0;
  int begin = 0, end = 0;
  float* out = nullptr;
};

/// out[k][j] = sum over parts of in[part][j][k] for the k in [begin, end); `begin` is a whole number of
/// vectors.
struct ReduceTransposed {
  const float* in = nullptr;
  std::ptrdiff_t in_part = 0, in_step = 0;
  int parts = 1, n_taps = 0;
  int begin = 0, end = 0;
  float* out = nullptr;
  std::ptrdiff_t out_step = 0;
};

// Winograd's F(m x m, 3x3): an output tile of m x m from a patch of (m + 2) x (m + 2), by products at n^2
// "frequencies", n = m + 2; Lavin & Gray, "Fast algorithms for convolutional neural networks", 2015, section
// 4.1. A transformed operand is n^2 matrices [tiles][channels rounded up to whole vectors].

/// Image -> n^2 matrices: B^T d B of the n x n patch of each tile (an input), or A d A^T of the m x m patch
/// (an output's gradient). What lies outside the image reads as zero.
struct WinogradScatter {
  const float* image = nullptr;
  std::ptrdiff_t row = 0, pixel = 0;
  int rows = 0, cols = 0;        ///< of the image
  int top = 0, left = 0;         ///< the patch of tile (i, j) starts at row top + m * i, column left + m * j
  const float* zeros = nullptr;  ///< n * pixel of them
  int tile_rows = 0, tile_cols = 0, channels = 0;
  float* out = nullptr;
  std::ptrdiff_t frequency = 0, tile = 0;  ///< steps of `out`
};

/// n^2 matrices -> image: A^T m A, then the epilogue; what lies outside [rows][cols] is dropped.
struct WinogradGather {
  const float* in = nullptr;
  std::ptrdiff_t frequency = 0, tile = 0;  ///< steps of `in`
  int tile_rows = 0, tile_cols = 0, channels = 0;
  float* out = nullptr;
  std::ptrdiff_t row = 0, pixel = 0;
  int rows = 0, cols = 0;
  Epilogue epilogue;
};

/// The elements [begin, end), whole vectors, of 9 taps -> n^2 frequencies (G g G^T) or back (G^T u G, summed
/// over `parts`).
struct WinogradFilters {
  const float* in = nullptr;
  std::ptrdiff_t in_step = 0;  ///< between taps, or frequencies
  float* out = nullptr;
  std::ptrdiff_t out_step = 0;  ///< between frequencies, or taps
  std::ptrdiff_t begin = 0, end = 0;
  int parts = 1;
  std::ptrdiff_t part = 0;
};

/// The transforms of one tile size.
struct WinogradTransforms {
  void (*input)(const WinogradScatter&) = nullptr;
  void (*output_gradient)(const WinogradScatter&) = nullptr;
  void (*output)(const WinogradGather&) = nullptr;
  void (*filters)(const WinogradFilters&) = nullptr;
  void (*filter_gradient)(const WinogradFilters&) = nullptr;
};

/// Adds the sums of (x - shift) and (x - shift)^2 over rows of channels; shift null: only the plain sums.
/// The arrays hold the channels rounded up to whole vectors. Meant for a few hundred rows at a time.
struct ChannelSums {
  const float* x = nullptr;
  std::int64_t rows = 0;
  int channels = 0;
  const float* shift = nullptr;
  float* sum = nullptr;
  float* sum_squares = nullptr;
};

/// y = (x - mean) * scale + beta per channel, then ReLU.
struct Normalise {
  const float* x = nullptr;
  float* y = nullptr;
  std::int64_t rows = 0;
  int channels = 0;
  const float *mean = nullptr, *scale = nullptr, *beta = nullptr;
  bool relu = false;
};

/// Windows over an image: geometry shared by all pooling kernels.
struct Pooling {
  int h = 0, w = 0, channels = 0;  ///< input
  int p = 0, q = 0;                ///< output
  int r = 1, s = 1, stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0;
  /// For each input row (column) the first and one past the last output row (column) whose window covers it.
  const std::int32_t *p_begin = nullptr, *p_end = nullptr, *q_begin = nullptr, *q_end = nullptr;
};

/// Output rows [begin, end) of one image, with the normalisation of Normalise before (mean null: none).
struct MaxPool {
  Pooling pooling;
  int begin = 0, end = 0;
  const float* x = nullptr;
  const float *mean = nullptr, *scale = nullptr, *beta = nullptr;
  bool relu = false;
  float* y = nullptr;
  std::uint8_t* argmax = nullptr;  ///< null: not wanted
};

/// Input rows [begin, end) of one image: dx = the gradients of the windows whose maximum an element was.
struct MaxPoolBackward {
  Pooling pooling;
  int begin = 0, end = 0;
  const float* dy = nullptr;
  const std::uint8_t* argmax = nullptr;
  const float* y = nullptr;  ///< dy counts only where y > 0; null: everywhere
  float* dx = nullptr;
};

/// Output rows [begin, end) of one image; `include_pad` divides by r * s always.
struct AveragePool {
  Pooling pooling;
  int begin = 0, end = 0;
  bool include_pad = false;
  const float* x = nullptr;
  float* y = nullptr;
};

/// Input rows [begin, end) of one image.
struct AveragePoolBackward {
  Pooling pooling;
  int begin = 0, end = 0;
  bool include_pad = false;
  const float* dy = nullptr;
  const float* mask = nullptr;  ///< [h][w][channels]; null: none
  float* dx = nullptr;
};

/// y[c] = mean over rows of x; and back: dx[row][c] = dy[c] / rows where mask > 0.
struct GlobalPool {
  std::int64_t rows = 0;
  int channels = 0;
  const float* in = nullptr;
  const float* mask = nullptr;
  float* out = nullptr;
};

/// Adds sums of g and g * (x - mean) over rows; g = dy where y > 0 (y null: everywhere).
struct NormaliseReduce {
  const float *dy = nullptr, *x = nullptr, *y = nullptr;
  std::int64_t rows = 0;
  int channels = 0;
  const float* mean = nullptr;
  float *sum = nullptr, *sum_x = nullptr;
};

/// The same over the output rows [begin, end) of one max-pooled image: x is read at each window's maximum.
struct NormalisePoolReduce {
  Pooling pooling;
  int begin = 0, end = 0;
  const float *dy = nullptr, *x = nullptr, *y = nullptr;
  const std::uint8_t* argmax = nullptr;
  const float* mean = nullptr;
  float *sum = nullptr, *sum_x = nullptr;
};

/// dx = scale * (g - offset - (x - mean) * slope), zero where `mask` and x <= 0.
struct NormaliseBackward {
  const float *dy = nullptr, *x = nullptr, *y = nullptr;
  std::int64_t rows = 0;
  int channels = 0;
  const float *mean = nullptr, *scale = nullptr, *offset = nullptr, *slope = nullptr;
  bool mask = false;
  float* dx = nullptr;
};

/// The same over the input rows [begin, end) of one max-pooled image.
struct NormalisePoolBackward {
  Pooling pooling;
  int begin = 0, end = 0;
  const std::uint8_t* argmax = nullptr;
  NormaliseBackward normalise;  ///< its `rows` is unused
};

/// Element-wise: out may be one of the inputs.
struct Elementwise {
  const float *a = nullptr, *b = nullptr;
  float* out = nullptr;
  std::int64_t n = 0;
  bool relu = false;
};

/// Elements [begin, begin + n); `begin` is a multiple of 4, the size of a Philox block.
struct Dropout {
  const float* x = nullptr;
  float* y = nullptr;
  std::int64_t begin = 0, n = 0;
  std::uint64_t seed = 0;
  std::uint32_t stream = 0, step = 0;
  float probability = 0, scale = 1;
};

/// average = decay * average + (1 - decay) * values.
struct Average {
  const float* values = nullptr;
  float* average = nullptr;
  std::int64_t n = 0;
  float decay = 0;
};

/// One range of parameters that shares its settings; formulas in quern/op.hpp.
struct Update {
  const float* grads = nullptr;
  float *params = nullptr, *slot1 = nullptr, *slot2 = nullptr;
  std::int64_t n = 0;
  float grad_scale = 1;       ///< from clipping
  float decay = 0;            ///< added to the gradient: decay * param
  float decoupled_decay = 0;  ///< AdamW: subtracted from the parameter: decoupled_decay * param
  float learning_rate = 0;    ///< Adam: times sqrt(bias_correction2) / bias_correction1
  float momentum = 0, beta1 = 0, beta2 = 0, epsilon = 0;
};

/// loss and, if wanted, dlogits of rows.
struct SoftmaxXent {
  const float* logits = nullptr;
  const std::int32_t* labels = nullptr;
  int rows = 0, classes = 0;
  float smoothing = 0, gradient_scale = 1;
  float* loss = nullptr;
  float* dlogits = nullptr;
};

/// The table of one instruction set. `lanes` floats make a vector, `panel` is ProductRows' panel width.
struct Kernels {
  int lanes = 0, panel = 0;
  void (*product_rows)(const ProductRows&) = nullptr;
  void (*outer_rows)(const OuterRows&) = nullptr;
  void (*dot_rows)(const DotRows&) = nullptr;
  void (*pack_transposed)(const PackTransposed&) = nullptr;
  void (*pack_rows)(const PackRows&) = nullptr;
  void (*reduce_transposed)(const ReduceTransposed&) = nullptr;
  const WinogradTransforms *winograd_2x2 = nullptr, *winograd_4x4 = nullptr, *winograd_5x5 = nullptr;
  void (*channel_sums)(const ChannelSums&) = nullptr;
  void (*normalise)(const Normalise&) = nullptr;
  void (*normalise_reduce)(const NormaliseReduce&) = nullptr;
  void (*normalise_backward)(const NormaliseBackward&) = nullptr;
  void (*max_pool)(const MaxPool&) = nullptr;
  void (*max_pool_backward)(const MaxPoolBackward&) = nullptr;
  void (*normalise_pool_reduce)(const NormalisePoolReduce&) = nullptr;
  void (*normalise_pool_backward)(const NormalisePoolBackward&) = nullptr;
  void (*average_pool)(const AveragePool&) = nullptr;
  void (*average_pool_backward)(const AveragePoolBackward&) = nullptr;
  void (*global_pool)(const GlobalPool&) = nullptr;
  void (*global_pool_backward)(const GlobalPool&) = nullptr;
  void (*relu)(const Elementwise&) = nullptr;           ///< max(a, 0)
  void (*relu_backward)(const Elementwise&) = nullptr;  ///< a where b > 0
  void (*add)(const Elementwise&) = nullptr;
  void (*dropout)(const Dropout&) = nullptr;
  void (*average)(const Average&) = nullptr;
  void (*update_sgd)(const Update&) = nullptr;
  void (*update_momentum)(const Update&) = nullptr;
  void (*update_nesterov)(const Update&) = nullptr;
  void (*update_adam)(const Update&) = nullptr;  ///< and AdamW
  double (*sum_of_squares)(const float*, std::int64_t) = nullptr;
  void (*softmax_xent)(const SoftmaxXent&) = nullptr;
};

}  // namespace quern::onednn
