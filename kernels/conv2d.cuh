#pragma once

/// Two-dimensional convolution. Contracts of conv2d.forward, conv2d.backward_data, conv2d.backward_weights
/// and conv2d.backward (both gradients in one launch, by implicit products) in quern/op.hpp; activations
/// NHWC, weights KRSC, weights and their gradients fp32. Outputs are overwritten.
///
/// Kernels, by what they serve (the refusals are in src/providers/custom/conv2d.cpp):
///
///   *_direct   few input channels: a patch fits into registers, no tensor core could be fed
///   *_bf16     implicit matrix product on tensor cores, activations stored as bf16
///   *_tf32     the same for fp32 activations, operands rounded to tf32
///   *_fp32     the same in full precision on the CUDA cores
///   *_general  everything: any groups, any mixture of fp32 and bf16 activations, any size
///
/// The implicit products take any window, stride, padding and dilation, one group, tensors of fewer than
/// kMaxElements elements, images of up to kMaxExtent rows and columns with their padding, and at most
/// kMaxTaps filter taps. All addresses are multiples of 16 bytes.

#include <cstddef>
#include <cstdint>

#include "kernels/dataset.hpp"
#include "kernels/gemm/plan.hpp"
#include "kernels/launcher.hpp"

namespace quern::kernels {

// Limits of the implicit products.
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 30;
inline constexpr int kMaxExtent = 1 << 14;
inline constexpr int kMaxTaps = 128;

struct Conv2dShape {
  int n = 0, h = 0, w = 0, c = 0;  ///< x [n, h, w, c]
  int k = 0, r = 1, s = 1;         ///< w [k, r, s, c / groups]
  int p = 0, q = 0;                ///< y [n, p, q, k]
  int stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0, dilation_h = 1, dilation_w = 1;
  int groups = 1;

  std::int64_t pixels() const { return std::int64_t{n} * p * q; }
  std::int64_t patch() const { return std::int64_t{r} * s * (c / groups); }
};

/// Images that are gathered: by the direct and the general kernels, forward and backward_weights.
struct GatheredImages {
  Dataset dataset;
  bool gather = false;         ///< dataset.values will not be null, and x is
  float mean = 0, stddev = 1;  ///< x = (pixel / 255 - mean) / stddev, stored as x_bf16 says
};

struct Conv2dForwardArgs {
  Conv2dShape shape;
  const void* x = nullptr;
  GatheredImages images;
  const float* w = nullptr;
  const float* bias = nullptr;  ///< [k] or null
  void* y = nullptr;
  float* stats = nullptr;  ///< [2, k], mean and biased variance of y as stored; or null
  bool relu = false;
  bool with_stats = false;  ///< stats will not be null
  bool x_bf16 = false, y_bf16 = false;
  GemmPlan plan;
  float* workspace = nullptr;    ///< conv2d_*_workspace() bytes, 16-byte aligned; undefined before and after
  unsigned* counters = nullptr;  ///< conv2d_*_counters(); all zero before and after every launch
};

struct Conv2dBackwardDataArgs {
  Conv2dShape shape;
  const void* dy = nullptr;
  const float* w = nullptr;
  const void* x = nullptr;  ///< the mask: dx = 0 where not x > 0; or null
  void* dx = nullptr;
  bool dy_bf16 = false, dx_bf16 = false, x_bf16 = false;
  GemmPlan plan;
  float* workspace = nullptr;
  unsigned* counters = nullptr;
};

struct Conv2dBackwardWeightsArgs {
  Conv2dShape shape;
  const void* dy = nullptr;
  const void* x = nullptr;
  GatheredImages images;
  float* dw = nullptr;
  float* dbias = nullptr;  ///< [k] or null
  bool with_bias = false;  ///< dbias will not be null
  bool dy_bf16 = false, x_bf16 = false;
  GemmPlan plan;
  float* workspace = nullptr;
  unsigned* counters = nullptr;
};

/// Both gradients in one launch.
struct Conv2dBackwardArgs {
  Conv2dBackwardDataArgs data;
  Conv2dBackwardWeightsArgs weights;  ///< cut into the same tile as data
  bool masked = false;                ///< data.x will not be null
  float* workspace = nullptr;         ///< of both; those of `data` and `weights` are not looked at
  unsigned* counters = nullptr;
};

// The products behind the implicit kernels. `chunk`: elements of an activation in 16 bytes.

inline GemmProblem conv2d_forward_problem(const Conv2dShape& s, int chunk) {
  return {s.pixels(), s.k, s.patch(), 1, s.c % chunk == 0};
}
/// One product for each phase of the stride: input pixels of one phase see the same filter taps.
inline GemmProblem conv2d_backward_data_problem(const Conv2dShape& s, int chunk) {
  const std::int64_t pixels = s.n * ceil_div(s.h, s.stride_h) * ceil_div(s.w, s.stride_w);
  const std::int64_t taps = ceil_div(s.r, s.stride_h) * ceil_div(s.s, s.stride_w);
  return {pixels, s.c, taps * s.k, s.stride_h * s.stride_w, s.c % 4 == 0 && s.k % chunk == 0};
}
inline GemmProblem conv2d_backward_weights_problem(const Conv2dShape& s, int chunk) {
  return {s.k, s.patch(), s.pixels(), 1, s.c % chunk == 0 && s.k % chunk == 0};
}

// What the implicit kernels need of memory.

inline std::size_t conv2d_forward_workspace(const Conv2dForwardArgs& args) {
  const GemmProblem problem = conv2d_forward_problem(args.shape, 1);
  const auto stats = args.with_stats ? stats_floats(tiles_m(problem, args.plan.tile),
                                                    tiles_n(problem, args.plan.tile), problem.n)
                                     : 0;
  return (split_floats(problem, args.plan, 0) + stats) * sizeof(float);
}
inline std::size_t conv2d_forward_counters(const Conv2dForwardArgs& args) {
  const GemmProblem problem = conv2d_forward_problem(args.shape, 1);
  const auto stats = args.with_stats
                         ? stats_counters(tiles_m(problem, args.plan.tile), tiles_n(problem, args.plan.tile))
                         : 0;
  return split_counters(problem, args.plan) + stats;
}
inline std::size_t conv2d_backward_data_workspace(const Conv2dBackwardDataArgs& args) {
  return split_floats(conv2d_backward_data_problem(args.shape, 1), args.plan, 0) * sizeof(float);
}
inline std::size_t conv2d_backward_data_counters(const Conv2dBackwardDataArgs& args) {
  return split_counters(conv2d_backward_data_problem(args.shape, 1), args.plan);
}
inline std::size_t conv2d_backward_weights_workspace(const Conv2dBackwardWeightsArgs& args) {
  return split_floats(conv2d_backward_weights_problem(args.shape, 1), args.plan, args.with_bias ? 1 : 0) *
         sizeof(float);
}
inline std::size_t conv2d_backward_weights_counters(const Conv2dBackwardWeightsArgs& args) {
  return split_counters(conv2d_backward_weights_problem(args.shape, 1), args.plan);
}

inline std::size_t conv2d_backward_workspace(const Conv2dBackwardArgs& args) {
  return conv2d_backward_data_workspace(args.data) + conv2d_backward_weights_workspace(args.weights);
}
inline std::size_t conv2d_backward_counters(const Conv2dBackwardArgs& args) {
  return conv2d_backward_data_counters(args.data) + conv2d_backward_weights_counters(args.weights);
}

// How the direct kernels are cut up. A thread has four neighbouring filters; `quads` threads side by side
// have all filters of a block. In forward a thread has four pixels of a row, in backward_weights it walks
// over many such.

inline constexpr int kDirectThreads = 256;
inline constexpr int kDirectPixels = 4;
inline constexpr int kDirectMaxQuads = 8;

/// Threads side by side: a power of two.
constexpr int direct_quads(int filters) {
  int quads = 1;
  while (quads < kDirectMaxQuads && 4 * quads < filters) quads *= 2;
  return quads;
}
/// Blocks along the filters.
inline std::int64_t direct_filter_tiles(const Conv2dShape& s) {
  return ceil_div(s.k, 4 * direct_quads(s.k));
}
/// Runs of kDirectPixels pixels in all rows.
inline std::int64_t direct_runs(const Conv2dShape& s) {
  return std::int64_t{s.n} * s.p * ceil_div(s.q, kDirectPixels);
}
/// Blocks along the pixels, at one run a thread.
inline std::int64_t direct_pixel_tiles(const Conv2dShape& s) {
  return ceil_div(direct_runs(s), kDirectThreads / direct_quads(s.k));
}

/// Weights that a block keeps in shared memory: in forward those of its filters, in backward_data all.
inline constexpr int kDirectMaxChannels = 4;
inline std::size_t conv2d_forward_direct_shared(const Conv2dShape& s) {
  return static_cast<std::size_t>(s.patch() * 4 * direct_quads(s.k)) * sizeof(float);
}
inline std::size_t conv2d_backward_data_direct_shared(const Conv2dShape& s) {
  return static_cast<std::size_t>(s.patch() * ceil_div(s.k, 4) * 4) * sizeof(float);
}

inline std::size_t conv2d_forward_direct_workspace(const Conv2dForwardArgs& args) {
  const Conv2dShape& s = args.shape;
  return args.with_stats ? stats_floats(direct_pixel_tiles(s), direct_filter_tiles(s), s.k) * sizeof(float)
                         : 0;
}
inline std::size_t conv2d_forward_direct_counters(const Conv2dForwardArgs& args) {
  return args.with_stats ? stats_counters(direct_pixel_tiles(args.shape), direct_filter_tiles(args.shape))
                         : 0;
}
/// Sums that a block of backward_weights makes: for each of its filters a patch and the bias.
inline std::int64_t direct_block_sums(const Conv2dShape& s) {
  return (s.patch() + 1) * 4 * direct_quads(s.k);
}
inline std::size_t conv2d_backward_weights_direct_workspace(const Conv2dBackwardWeightsArgs& args) {
  const Conv2dShape& s = args.shape;
  const std::int64_t parts = args.plan.splits + merge_groups(args.plan.splits);
  return static_cast<std::size_t>(parts * direct_filter_tiles(s) * direct_block_sums(s)) * sizeof(float);
}
inline std::size_t conv2d_backward_weights_direct_counters(const Conv2dBackwardWeightsArgs& args) {
  return static_cast<std::size_t>((merge_groups(args.plan.splits) + 1) * direct_filter_tiles(args.shape));
}
/// The patches that the direct kernels are unrolled for; backward_weights_direct serves no other.
inline bool conv2d_direct_unrolled(const Conv2dShape& s) {
  const bool plain = s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 && s.dilation_w == 1;
  return plain && s.r == s.s && ((s.r == 3 && (s.c == 1 || s.c == 3)) || (s.r == 5 && s.c == 1));
}

QUERN_DECLARE_LAUNCHER(conv2d_forward_fp32, Conv2dForwardArgs);
QUERN_DECLARE_LAUNCHER(conv2d_forward_tf32, Conv2dForwardArgs);
QUERN_DECLARE_LAUNCHER(conv2d_forward_bf16, Conv2dForwardArgs);
QUERN_DECLARE_LAUNCHER(conv2d_forward_direct, Conv2dForwardArgs);
QUERN_DECLARE_LAUNCHER(conv2d_forward_general, Conv2dForwardArgs);

QUERN_DECLARE_LAUNCHER(conv2d_backward_data_fp32, Conv2dBackwardDataArgs);
QUERN_DECLARE_LAUNCHER(conv2d_backward_data_tf32, Conv2dBackwardDataArgs);
QUERN_DECLARE_LAUNCHER(conv2d_backward_data_bf16, Conv2dBackwardDataArgs);
QUERN_DECLARE_LAUNCHER(conv2d_backward_data_direct, Conv2dBackwardDataArgs);
QUERN_DECLARE_LAUNCHER(conv2d_backward_data_general, Conv2dBackwardDataArgs);

QUERN_DECLARE_LAUNCHER(conv2d_backward_weights_fp32, Conv2dBackwardWeightsArgs);
QUERN_DECLARE_LAUNCHER(conv2d_backward_weights_tf32, Conv2dBackwardWeightsArgs);
QUERN_DECLARE_LAUNCHER(conv2d_backward_weights_bf16, Conv2dBackwardWeightsArgs);
QUERN_DECLARE_LAUNCHER(conv2d_backward_weights_direct, Conv2dBackwardWeightsArgs);
QUERN_DECLARE_LAUNCHER(conv2d_backward_weights_general, Conv2dBackwardWeightsArgs);

QUERN_DECLARE_LAUNCHER(conv2d_backward_fp32, Conv2dBackwardArgs);
QUERN_DECLARE_LAUNCHER(conv2d_backward_tf32, Conv2dBackwardArgs);
QUERN_DECLARE_LAUNCHER(conv2d_backward_bf16, Conv2dBackwardArgs);

}  // namespace quern::kernels
