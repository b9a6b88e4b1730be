#include "providers/onednn/conv_plan.hpp"

#include <algorithm>
#include <cstring>

#include "providers/onednn/moments.hpp"

namespace quern::onednn {

namespace {

// A unit's scratch should stay in the second-level cache beside the weights.
constexpr std::int64_t kScratchFloats = 48 * 1024;

}  // namespace

ConvShape ConvShape::of(const OpDesc& desc) {
  const auto& attrs = desc.as<Conv2dAttrs>();
  const Shape* x = nullptr;
  const Shape* y = nullptr;
  switch (desc.op.direction) {
    case Direction::forward:
      x = &desc.inputs[0].shape;
      y = &desc.outputs[0].shape;
      break;
    case Direction::backward_data:
      x = &desc.outputs[0].shape;
      y = &desc.inputs[0].shape;
      break;
    default:
      x = &desc.inputs[1].shape;
      y = &desc.inputs[0].shape;
      break;
  }
  const auto extent = [](const Shape& shape, int axis) { return static_cast<int>(shape[axis]); };
  const Window& window = attrs.window;
  return {extent(*x, 0),    extent(*x, 1),    extent(*x, 2),   extent(*x, 3),
          extent(*y, 1),    extent(*y, 2),    extent(*y, 3),   window.r,
          window.s,         attrs.groups,     window.stride_h, window.stride_w,
          attrs.dilation_h, attrs.dilation_w, window.pad_top,  window.pad_left};
}

int band_rows(int rows, int limit, int images, int threads) {
  int band = std::clamp(limit, 1, rows);
  if (images % threads == 0) return band;
  const int wanted = (8 * threads + images - 1) / images;
  band = std::min(band, std::max(1, rows / wanted));
  return band;
}

std::size_t GatherPlan::scratch_floats() const noexcept {
  if (!copies) return 0;
  const std::size_t lines = static_cast<std::size_t>(band - 1) * static_cast<std::size_t>(step_h) +
                            static_cast<std::size_t>(row_high - row_low + 1);
  return lines * static_cast<std::size_t>(width) * static_cast<std::size_t>(source_channels);
}

void GatherPlan::finish(int images, int threads, bool pad_rows) {
  if (row_offset.empty() || col_offset.empty() || out_rows == 0 || out_cols == 0) {
    row_offset.clear();  // no tap reaches these outputs: they are zero
    col_offset.clear();
    row_low = row_high = col_low = 0;
    width = source_cols;
  } else {
    row_low = *std::min_element(row_offset.begin(), row_offset.end());
    row_high = *std::max_element(row_offset.begin(), row_offset.end());
    col_low = *std::min_element(col_offset.begin(), col_offset.end());
    const int col_end = (out_cols - 1) * step_w + *std::max_element(col_offset.begin(), col_offset.end()) + 1;
    const int row_end = (out_rows - 1) * step_h + row_high + 1;
    copies = col_low < 0 || col_end > source_cols;
    pads_rows = pad_rows;
    if (pad_rows && (row_low < 0 || row_end > source_rows)) copies = true;
    width = copies ? col_end - col_low : source_cols;
  }
  for (const int row : row_offset)
    for (const int col : col_offset)
      for (int c = 0; c < group_channels; ++c)
        taps.push_back(((row - row_low) * width + (col - col_low)) * source_channels + c);
  if (!pads_rows) {
    const int row_taps = static_cast<int>(col_offset.size()) * group_channels;
    for (int i = 0; i < out_rows; ++i) {
      const auto inside = [&](int offset) {
        return i * step_h + offset >= 0 && i * step_h + offset < source_rows;
      };
      const auto first = std::find_if(row_offset.begin(), row_offset.end(), inside);
      const auto last = std::find_if_not(first, row_offset.end(), inside);
      tap_begin.push_back(static_cast<int>(first - row_offset.begin()) * row_taps);
      tap_end.push_back(static_cast<int>(last - row_offset.begin()) * row_taps);
    }
  }
  const std::int64_t line = std::int64_t{width} * source_channels;
  const std::int64_t lines = std::max<std::int64_t>(1, kScratchFloats / std::max<std::int64_t>(1, line));
  const std::int64_t by_cache = (lines - (row_high - row_low + 1)) / step_h + 1;
  const std::int64_t by_stats = Moments::kBlockRows / std::max(1, out_cols);
  band =
      out_rows == 0
          ? 1
          : band_rows(out_rows,
                      static_cast<int>(std::clamp<std::int64_t>(std::min(by_cache, by_stats), 1, out_rows)),
                      images, threads);
  bands = (out_rows + band - 1) / band;
}

GatherPlan::Unit GatherPlan::unit(std::int64_t index) const noexcept {
  const Range rows = share(out_rows, static_cast<int>(index % bands), bands);
  return {index / bands, static_cast<int>(rows.begin), static_cast<int>(rows.end)};
}

const float* GatherPlan::rows(const float* image, int row_begin, int row_end, float* scratch) const {
  const int first = row_begin * step_h + row_low;
  const std::ptrdiff_t source_line = std::ptrdiff_t{source_cols} * source_channels;
  if (!copies) return image + first * source_line + std::ptrdiff_t{col_low} * source_channels;
  const auto line = static_cast<std::size_t>(width) * static_cast<std::size_t>(source_channels);
  const int last = (row_end - 1) * step_h + row_high;
  const int left = std::clamp(-col_low, 0, width);
  const int source_begin = std::max(col_low, 0);
  const int count = std::clamp(source_cols - source_begin, 0, width - left);
  const auto channels = static_cast<std::size_t>(source_channels);
  const std::size_t left_floats = static_cast<std::size_t>(left) * channels;
  const std::size_t middle = static_cast<std::size_t>(count) * channels;
  for (int row = first; row <= last; ++row) {
    float* out = scratch + static_cast<std::size_t>(row - first) * line;
    if (row < 0 || row >= source_rows) {
      if (pads_rows) std::memset(out, 0, line * sizeof(float));
      continue;
    }
    if (left_floats > 0) std::memset(out, 0, left_floats * sizeof(float));
    if (middle > 0)
      std::memcpy(out + left_floats,
                  image + row * source_line + std::ptrdiff_t{source_begin} * source_channels,
                  middle * sizeof(float));
    if (left_floats + middle < line)
      std::memset(out + left_floats + middle, 0, (line - left_floats - middle) * sizeof(float));
  }
  return scratch;
}

GatherPlan forward_plan(const ConvShape& shape, int threads, bool pad_rows) {
  GatherPlan plan;
  plan.source_rows = shape.h;
  plan.source_cols = shape.w;
  plan.source_channels = shape.c;
  plan.group_channels = shape.group_c();
  plan.out_rows = shape.p;
  plan.out_cols = shape.q;
  plan.step_h = shape.stride_h;
  plan.step_w = shape.stride_w;
  for (int r = 0; r < shape.r; ++r) {
    plan.filter_row.push_back(r);
    plan.row_offset.push_back(r * shape.dilation_h - shape.pad_top);
  }
  for (int s = 0; s < shape.s; ++s) {
    plan.filter_col.push_back(s);
    plan.col_offset.push_back(s * shape.dilation_w - shape.pad_left);
  }
  plan.out_pixel = shape.k;
  plan.out_row = std::ptrdiff_t{shape.q} * shape.k;
  plan.finish(shape.n, threads, pad_rows);
  return plan;
}

std::vector<GatherPlan> backward_data_plans(const ConvShape& shape, int threads) {
  std::vector<GatherPlan> plans;
  for (int a = 0; a < std::min(shape.stride_h, shape.h); ++a) {
    for (int b = 0; b < std::min(shape.stride_w, shape.w); ++b) {
      GatherPlan plan;
      plan.source_rows = shape.p;
      plan.source_cols = shape.q;
      plan.source_channels = shape.k;
      plan.group_channels = shape.group_k();
      plan.out_rows = (shape.h - a + shape.stride_h - 1) / shape.stride_h;
      plan.out_cols = (shape.w - b + shape.stride_w - 1) / shape.stride_w;
      for (int r = 0; r < shape.r; ++r) {
        const int distance = a + shape.pad_top - r * shape.dilation_h;
        if (distance % shape.stride_h != 0) continue;
        plan.filter_row.push_back(r);
        plan.row_offset.push_back(distance / shape.stride_h);
      }
      for (int s = 0; s < shape.s; ++s) {
        const int distance = b + shape.pad_left - s * shape.dilation_w;
        if (distance % shape.stride_w != 0) continue;
        plan.filter_col.push_back(s);
        plan.col_offset.push_back(distance / shape.stride_w);
      }
      plan.out_base = (std::ptrdiff_t{a} * shape.w + b) * shape.c;
      plan.out_row = std::ptrdiff_t{shape.stride_h} * shape.w * shape.c;
      plan.out_pixel = std::ptrdiff_t{shape.stride_w} * shape.c;
      plan.finish(shape.n, threads, false);
      plans.push_back(std::move(plan));
    }
  }
  return plans;
}

}  // namespace quern::onednn
