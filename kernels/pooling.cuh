#pragma once

/// What the pooling families share: the geometry of a window over an image, and a thread's pack of channels.

#include <cstdint>

#include "kernels/activation.cuh"
#include "kernels/pool_window.hpp"

namespace quern::kernels::QUERN_TARGET {

/// `width` bytes: the argmax of as many channels.
template <int width>
struct Indices {
  std::uint8_t v[width];
};

template <int width>
__device__ __forceinline__ Indices<width> load_indices(const std::uint8_t* address) {
  Indices<width> c;
  if constexpr (width == 1) {
    c.v[0] = *address;
  } else {
#pragma unroll
    for (int i = 0; i < width; i += 4) {
      const uchar4 quad = *reinterpret_cast<const uchar4*>(address + i);
      c.v[i] = quad.x, c.v[i + 1] = quad.y, c.v[i + 2] = quad.z, c.v[i + 3] = quad.w;
    }
  }
  return c;
}

template <int width>
__device__ __forceinline__ void store_indices(std::uint8_t* address, const Indices<width>& c) {
  if constexpr (width == 1) {
    *address = c.v[0];
  } else {
#pragma unroll
    for (int i = 0; i < width; i += 4)
      *reinterpret_cast<uchar4*>(address + i) = make_uchar4(c.v[i], c.v[i + 1], c.v[i + 2], c.v[i + 3]);
  }
}

/// A thread's place in an array [N, rows, columns, C] of which it has `width` channels.
struct Place {
  int n, row, column, c;
};

template <int width>
__device__ __forceinline__ Place place_of(std::int64_t thread, int rows, int columns, int channels) {
  const int groups = channels / width;
  const auto c = static_cast<int>(thread % groups);
  thread /= groups;
  const auto column = static_cast<int>(thread % columns);
  thread /= columns;
  return {static_cast<int>(thread / rows), static_cast<int>(thread % rows), column, c * width};
}

__device__ __forceinline__ std::int64_t offset_of(int n, int row, int column, int c, int rows, int columns,
                                                  int channels) {
  return ((static_cast<std::int64_t>(n) * rows + row) * columns + column) * channels + c;
}

/// The taps of window (p, q) that lie inside the image, as half-open ranges.
struct TapRange {
  int r_begin, r_end, s_begin, s_end;
  __device__ int count() const { return (r_end - r_begin) * (s_end - s_begin); }
};

__device__ __forceinline__ TapRange taps_inside(const PoolWindow& w, int p, int q) {
  const int top = p * w.stride_h - w.pad_top, left = q * w.stride_w - w.pad_left;
  return {max(0, -top), min(w.r, w.height - top), max(0, -left), min(w.s, w.width - left)};
}

/// The windows that contain input (h, w), as half-open ranges of p and q.
struct WindowRange {
  int p_begin, p_end, q_begin, q_end;
};

__device__ __forceinline__ WindowRange windows_over(const PoolWindow& w, int row, int column) {
  const int h = row + w.pad_top, v = column + w.pad_left;
  const int p_begin = h < w.r ? 0 : (h - w.r) / w.stride_h + 1;
  const int q_begin = v < w.s ? 0 : (v - w.s) / w.stride_w + 1;
  return {p_begin, min(w.out_height, h / w.stride_h + 1), q_begin, min(w.out_width, v / w.stride_w + 1)};
}

/// First maximum in tap order; the first NaN wins.
struct Maximum {
  float value = 0;
  int index = -1;
  __device__ __forceinline__ void take(float candidate, int at) {
    if (index < 0 || (value == value && (candidate > value || candidate != candidate))) {
      value = candidate;
      index = at;
    }
  }
};

/// The gradient that reaches `width` channels of input (row, column) through max-pooling: the sum of
/// gradient(p, q) over the windows whose argmax points here, in the order of the windows.
template <int width, class Gradient>
__device__ __forceinline__ Pack<width> maximum_gradient(const PoolWindow& w, int channels, const Place& at,
                                                        const std::uint8_t* argmax,
                                                        const Gradient& gradient) {
  Pack<width> sum{};
  const WindowRange over = windows_over(w, at.row, at.column);
  for (int p = over.p_begin; p < over.p_end; ++p)
    for (int q = over.q_begin; q < over.q_end; ++q) {
      const int tap = (at.row + w.pad_top - p * w.stride_h) * w.s + at.column + w.pad_left - q * w.stride_w;
      const std::int64_t offset = offset_of(at.n, p, q, at.c, w.out_height, w.out_width, channels);
      const Indices<width> winner = load_indices<width>(argmax + offset);
      const Pack<width> g = gradient(offset);
#pragma unroll
      for (int i = 0; i < width; ++i) sum.v[i] += winner.v[i] == tap ? g.v[i] : 0.0f;
    }
  return sum;
}

inline constexpr int kPoolThreads = 256;
inline unsigned pool_grid(std::int64_t threads) {
  return static_cast<unsigned>((threads + kPoolThreads - 1) / kPoolThreads);
}

}  // namespace quern::kernels::QUERN_TARGET
