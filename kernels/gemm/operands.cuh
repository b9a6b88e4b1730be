#pragma once

/// Where the operands of an implicit matrix product come from: five ways to copy the next tile from global to
/// shared memory. No patch matrix is ever written: a copy computes its address from the convolution's
/// geometry.
///
///   PatchRows        A[pixel, (tap, channel)]    Major::k      an image [N,H,W,C]: forward, backward_data
///   FilterRows       B[(r, s, c), filter]        Major::k      weights [K,R,S,C]: forward
///   FilterTaps       B[(tap, filter), channel]   Major::outer  weights [K,R,S,C]: backward_data
///   GradientColumns  A[filter, pixel]            Major::outer  dy [N,P,Q,K]: backward_weights
///   PatchColumns     B[pixel, (r, s, c)]         Major::outer  x [N,H,W,C]: backward_weights
///
/// Neighbouring taps see the same pixels, so that patches come through the first-level cache.
///
/// All are made once a block and then asked for one tile after the other: load(shared, k). `access` is the
/// number of elements a copy moves: 16 bytes' worth where channels come in whole chunks, else 1. Indices are
/// 32-bit: tensors have fewer than 2^31 elements.

#include "kernels/gemm/fast_divmod.cuh"
#include "kernels/gemm/tile.cuh"

namespace quern::kernels::QUERN_TARGET {

/// One filter tap: how far from a patch's origin it reads, and which weights it has.
struct alignas(16) Tap {
  int shift_h, shift_w;
  int offset;  ///< of the image element at that shift, relative to the patch's origin
  int filter;  ///< r * S + s
};

/// How a tile is divided among the block's threads: each copies `access` elements at (row + i * kRowStep,
/// column) for i < kRows, rows and columns being those of the shared tile.
template <class Layout, int access, int threads>
struct CopyMap {
  static constexpr int kColumns = Layout::kMajor == Major::k ? kStepDepth : Layout::kExtent;
  static constexpr int kTotalRows = Layout::kMajor == Major::k ? Layout::kExtent : kStepDepth;
  static constexpr int kPerRow = kColumns / access;  ///< threads side by side
  static constexpr int kRowStep = threads / kPerRow;
  static constexpr int kRows = kTotalRows / kRowStep;
  static_assert(threads % kPerRow == 0 && kTotalRows % kRowStep == 0, "every thread copies alike");

  int row, column;
  explicit __device__ __forceinline__ CopyMap(int thread)
      : row(thread / kPerRow), column(thread % kPerRow * access) {}
};

/// A patch's row of pixels: `pixel` numbers the grid [N, grid_height, grid_width] of patch origins.
struct PatchGrid {
  FastDivmod area, width;  ///< grid_height * grid_width, grid_width
  int pixels = 0;          ///< N * area
  int stride_h = 1, stride_w = 1;
};

template <class T>
struct Image {
  const T* data = nullptr;
  int height = 0, width = 0;
  FastDivmod channels;
};

/// A[pixel, (tap, channel)]: rows are pixels of `grid`, whose patches start at (stride * grid row + origin).
template <class T, int access, class TileShape>
class PatchRows {
 public:
  using Layout = TileLayout<T, Major::k, TileShape::kM>;

  __device__ __forceinline__ PatchRows(const Image<T>& image, const PatchGrid& grid, int origin_h,
                                       int origin_w, const Tap* taps, int depth, int first_pixel, int thread)
      : image_(image), taps_(taps), depth_(depth), map_(thread) {
#pragma unroll
    for (int i = 0; i < Map::kRows; ++i) {
      const int pixel = first_pixel + map_.row + i * Map::kRowStep;
      int in_image, column;
      const int n = grid.area.divide(pixel, in_image);
      const int row = grid.width.divide(in_image, column);
      const int h = row * grid.stride_h + origin_h, w = column * grid.stride_w + origin_w;
      offset_[i] = ((n * image.height + h) * image.width + w) * image.channels.divisor();
      // Beyond the last pixel every tap lies outside of the image.
      place_[i] = pixel < grid.pixels ? pack(h, w) : pack(kOutside, kOutside);
    }
  }

  __device__ __forceinline__ void load(T* shared, int first_k) const {
    const int k = first_k + map_.column;
    const bool inside = k < depth_;
    int channel;
    const int tap_index = image_.channels.divide(inside ? k : 0, channel);
    const Tap tap = taps_[tap_index];
#pragma unroll
    for (int i = 0; i < Map::kRows; ++i) {
      const int h = (place_[i] >> 16) + tap.shift_h;
      const int w = static_cast<std::int16_t>(place_[i] & 0xffff) + tap.shift_w;
      const bool valid = inside && static_cast<unsigned>(h) < static_cast<unsigned>(image_.height) &&
                         static_cast<unsigned>(w) < static_cast<unsigned>(image_.width);
      const T* const source = image_.data + (valid ? offset_[i] + tap.offset + channel : 0);
      copy_or_zero<access, Reuse::by_block>(
          shared + Layout::offset(map_.row + i * Map::kRowStep, map_.column), source, valid);
    }
  }

 private:
  using Map = CopyMap<Layout, access, TileShape::kThreads>;
  static constexpr int kOutside = -0x8000;

  static __device__ __forceinline__ int pack(int h, int w) {
    return static_cast<int>(static_cast<unsigned>(h) << 16 | (static_cast<unsigned>(w) & 0xffffu));
  }

  Image<T> image_;
  const Tap* taps_;
  int depth_;
  Map map_;
  int offset_[Map::kRows];
  int place_[Map::kRows];  ///< h and w of the patch's origin, 16 bits each
};

/// B[(r, s, c), filter]: the weights as they lie, one row of depth R*S*C for each filter.
template <int access, class TileShape>
class FilterRows {
 public:
  using Layout = TileLayout<float, Major::k, TileShape::kN>;

  __device__ __forceinline__ FilterRows(const float* weights, int filters, int depth, int first_filter,
                                        int thread)
      : weights_(weights), filters_(filters), depth_(depth), map_(thread), first_(first_filter + map_.row) {}

  __device__ __forceinline__ void load(float* shared, int first_k) const {
    const int k = first_k + map_.column;
#pragma unroll
    for (int i = 0; i < Map::kRows; ++i) {
      const int filter = first_ + i * Map::kRowStep;
      const bool valid = filter < filters_ && k < depth_;
      copy_or_zero<access, Reuse::none>(shared + Layout::offset(map_.row + i * Map::kRowStep, map_.column),
                                        weights_ + (valid ? filter * depth_ + k : 0), valid);
    }
  }

 private:
  using Map = CopyMap<Layout, access, TileShape::kThreads>;
  const float* weights_;
  int filters_, depth_;
  Map map_;
  int first_;
};

/// B[(tap, filter), channel]: for every tap of a table, the weights of all filters.
template <int access, class TileShape, int padding>
class FilterTaps {
 public:
  using Layout = TileLayout<float, Major::outer, TileShape::kN, padding>;

  /// `area` = R * S, the taps of the whole filter.
  __device__ __forceinline__ FilterTaps(const float* weights, const FastDivmod& filters, int area,
                                        int channels, const Tap* taps, int depth, int first_channel,
                                        int thread)
      : weights_(weights),
        filters_(filters),
        area_(area),
        channels_(channels),
        taps_(taps),
        depth_(depth),
        map_(thread),
        channel_(first_channel + map_.column) {}

  __device__ __forceinline__ void load(float* shared, int first_k) const {
#pragma unroll
    for (int i = 0; i < Map::kRows; ++i) {
      const int row = map_.row + i * Map::kRowStep;
      const bool valid = first_k + row < depth_ && channel_ < channels_;
      int filter;
      const int tap = filters_.divide(valid ? first_k + row : 0, filter);
      const int source = (filter * area_ + taps_[tap].filter) * channels_ + channel_;
      copy_or_zero<access, Reuse::none>(shared + Layout::offset(map_.column, row),
                                        weights_ + (valid ? source : 0), valid);
    }
  }

 private:
  using Map = CopyMap<Layout, access, TileShape::kThreads>;
  const float* weights_;
  FastDivmod filters_;
  int area_, channels_;
  const Tap* taps_;
  int depth_;
  Map map_;
  int channel_;
};

/// A[filter, pixel]: the output's gradient, one row of K filters for each pixel.
template <class T, int access, class TileShape, int padding>
class GradientColumns {
 public:
  using Layout = TileLayout<T, Major::outer, TileShape::kM, padding>;

  __device__ __forceinline__ GradientColumns(const T* gradient, int filters, int pixels, int first_filter,
                                             int thread)
      : gradient_(gradient),
        filters_(filters),
        pixels_(pixels),
        map_(thread),
        filter_(first_filter + map_.column) {}

  __device__ __forceinline__ void load(T* shared, int first_pixel) const {
#pragma unroll
    for (int i = 0; i < Map::kRows; ++i) {
      const int row = map_.row + i * Map::kRowStep;
      const bool valid = first_pixel + row < pixels_ && filter_ < filters_;
      const int source = (first_pixel + row) * filters_ + filter_;
      copy_or_zero<access, Reuse::none>(shared + Layout::offset(map_.column, row),
                                        gradient_ + (valid ? source : 0), valid);
    }
  }

 private:
  using Map = CopyMap<Layout, access, TileShape::kThreads>;
  const T* gradient_;
  int filters_, pixels_;
  Map map_;
  int filter_;
};

/// B[pixel, (r, s, c)]: for each output pixel, what the filter's taps see of the image.
template <class T, int access, class TileShape, int padding>
class PatchColumns {
 public:
  using Layout = TileLayout<T, Major::outer, TileShape::kN, padding>;

  /// `taps` is the table of all taps; `depth` their number times the channels.
  __device__ __forceinline__ PatchColumns(const Image<T>& image, const PatchGrid& grid, int origin_h,
                                          int origin_w, const Tap* taps, int depth, int first_column,
                                          int thread)
      : image_(image), grid_(grid), map_(thread) {
    const int column = first_column + map_.column;
    inside_ = column < depth;
    int channel;
    const int index = image.channels.divide(inside_ ? column : 0, channel);
    const Tap tap = taps[index];
    shift_h_ = origin_h + tap.shift_h;
    shift_w_ = origin_w + tap.shift_w;
    channel_ = channel;
  }

  __device__ __forceinline__ void load(T* shared, int first_pixel) const {
#pragma unroll
    for (int i = 0; i < Map::kRows; ++i) {
      const int row = map_.row + i * Map::kRowStep;
      const int pixel = first_pixel + row;
      int in_image, column;
      const int n = grid_.area.divide(pixel, in_image);
      const int line = grid_.width.divide(in_image, column);
      const int h = line * grid_.stride_h + shift_h_, w = column * grid_.stride_w + shift_w_;
      const bool valid = inside_ && pixel < grid_.pixels &&
                         static_cast<unsigned>(h) < static_cast<unsigned>(image_.height) &&
                         static_cast<unsigned>(w) < static_cast<unsigned>(image_.width);
      const int source = ((n * image_.height + h) * image_.width + w) * image_.channels.divisor() + channel_;
      copy_or_zero<access, Reuse::by_block>(shared + Layout::offset(map_.column, row),
                                            image_.data + (valid ? source : 0), valid);
    }
  }

 private:
  using Map = CopyMap<Layout, access, TileShape::kThreads>;
  Image<T> image_;
  PatchGrid grid_;
  Map map_;
  bool inside_;
  int shift_h_, shift_w_, channel_;
};

}  // namespace quern::kernels::QUERN_TARGET
