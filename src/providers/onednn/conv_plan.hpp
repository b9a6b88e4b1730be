#pragma once

/// Geometry of a direct convolution as a gather: out(i, j) = sum over filter rows r and columns s of
/// source(i * step_h + row_offset[r], j * step_w + col_offset[s]) . w[r][s], with zero outside the source.
/// A forward convolution is one such gather; a backward to the data is stride_h * stride_w of them, one for
/// each residue of the output position ("phase"), each over the filter taps that reach it.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "quern/op.hpp"

namespace quern::onednn {

/// Extents of a convolution under the letters of op.hpp.
struct ConvShape {
  int n, h, w, c, p, q, k, r, s, groups;
  int stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int group_c() const noexcept { return c / groups; }
  int group_k() const noexcept { return k / groups; }
  /// For a conv2d of any direction.
  static ConvShape of(const OpDesc& desc);
};

/// Rows of a source block as kernels read them, and how to get there.
struct GatherPlan {
  int source_rows = 0, source_cols = 0, source_channels = 0, group_channels = 0;
  int out_rows = 0, out_cols = 0;
  int step_h = 1, step_w = 1;
  std::vector<int> row_offset, col_offset;  ///< of the filter rows and columns in use
  std::vector<int> filter_row, filter_col;  ///< which ones these are
  std::ptrdiff_t out_base = 0, out_row = 0, out_pixel = 0;

  // Worked out by finish().
  int row_low = 0, row_high = 0, col_low = 0;
  int width = 0;        ///< columns of a row as read
  bool copies = false;  ///< rows are copied into a scratch with zero columns around
  bool pads_rows = false;
  std::vector<std::int32_t> taps;                ///< [r][s][group_channels] offsets from the first one
  std::vector<std::int32_t> tap_begin, tap_end;  ///< per output row, unless pads_rows
  int band = 1;                                  ///< output rows of a unit of work
  int bands = 1;

  int n_taps() const noexcept { return static_cast<int>(taps.size()); }
  std::ptrdiff_t x_row() const noexcept { return std::ptrdiff_t{step_h} * width * source_channels; }
  std::ptrdiff_t x_pixel() const noexcept { return std::ptrdiff_t{step_w} * source_channels; }
  std::size_t scratch_floats() const noexcept;

  /// Derives the rest. `pad_rows`: rows outside the source are copied as zeros too, instead of skipped.
  void finish(int images, int threads, bool pad_rows);

  /// The image of a unit of work and its output rows, at most `band` of them.
  struct Unit {
    std::int64_t image;
    int begin, end;
  };
  Unit unit(std::int64_t index) const noexcept;

  /// The address that tap offset 0 of output (row_begin, 0) refers to; copies into `scratch` where the plan
  /// says so.
  const float* rows(const float* image, int row_begin, int row_end, float* scratch) const;
};

GatherPlan forward_plan(const ConvShape& shape, int threads, bool pad_rows);
std::vector<GatherPlan> backward_data_plans(const ConvShape& shape, int threads);

/// Output rows of one unit of work, so that all threads get about the same: `limit` rows at most.
int band_rows(int rows, int limit, int images, int threads);

}  // namespace quern::onednn
