// Convolutions of few input channels, the first layer's: a patch fits into registers, and there is too little
// depth to feed a tensor core.
//
// Versions (nothing is measured yet: predictions only)
//   1  Four pixels by four filters a thread; patches come through the first-level cache, whose lines eight
//      threads share; weights from shared memory; one barrier. Predicted near the floor: the 144 FFMA of a
//      thread hide behind its stores.
//      backward_weights: 4 x (R*S*C + 1) sums in a thread's registers over a walk along the pixels, one
//      reduction at its end; the last blocks merge. Predicted at 1.5 times the floor at batch 64.
//   2  Images gathered from the dataset, a byte a pixel: a pixel is one of 256, whose normalised values a
//   block
//      computes once, a thread each, into shared memory. The batch is never written or read as floats, and
//      the launch before this one goes. Predicted: 2 us less a step at batch 64, nothing lost in the kernel.
//
// Floor on an H200 (4.3 TB/s as copies measure, 67 TFLOP/s fp32 by the datasheet), one launch each:
//   seed nets' conv1, 28x28x1 -> 32, 3x3   batch 64     6.6 MB, 29 MFLOP: 1.5 us
//                                          batch 1024   106 MB, 0.46 GFLOP: 25 us
//   in all three directions: y or dy is nearly all there is to move.
//
// Compiled for sm_90 (nvcc 13.0; no spills, also for sm_80 and sm_120), 256 threads a block: registers, KiB
// of shared memory beside the weights, and warps resident on a multiprocessor
//   forward           3x3x1, 5x5x1    66    3  24       3x3x3, any   80   3  24
//   backward_data     all             54    0  32
//   backward_weights  3x3x1          113   11  16       5x5x1       217  27   8       3x3x3   213  29   8

#include "kernels/conv2d.cuh"
#include "kernels/gather.cuh"
#include "kernels/gemm/column_stats.cuh"
#include "kernels/gemm/fast_divmod.cuh"
#include "kernels/gemm/math.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

/// Geometry as these kernels want it. `patch` = R * S * C.
template <class T>
struct DirectParams {
  const T* x;
  Dataset dataset;
  float mean, stddev;
  const T* dy;
  const float* w;
  const float* bias;
  T* y;
  int n, height, width, channels, filters;
  int p, q, r, s, patch;
  int stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  int quads;
  bool relu;
  FastDivmod runs_a_row, rows;  // ceil(Q / kDirectPixels), P
  int runs;
};

template <class T, class Args>
DirectParams<T> direct_params(const Args& args) {
  const Conv2dShape& s = args.shape;
  DirectParams<T> p{};
  p.n = s.n, p.height = s.h, p.width = s.w, p.channels = s.c, p.filters = s.k;
  p.p = s.p, p.q = s.q, p.r = s.r, p.s = s.s, p.patch = static_cast<int>(s.patch());
  p.stride_h = s.stride_h, p.stride_w = s.stride_w, p.pad_top = s.pad_top, p.pad_left = s.pad_left;
  p.dilation_h = s.dilation_h, p.dilation_w = s.dilation_w;
  p.quads = direct_quads(s.k);
  p.runs_a_row = FastDivmod(static_cast<int>(ceil_div(s.q, kDirectPixels)));
  p.rows = FastDivmod(s.p);
  p.runs = static_cast<int>(direct_runs(s));
  p.x = static_cast<const T*>(args.x);
  return p;
}

/// The images of a batch: x, or those of a dataset.
template <class T, bool gather>
class Images;

template <class T>
class Images<T, false> {
 public:
  explicit __device__ __forceinline__ Images(const DirectParams<T>& p) : x_(p.x) {}
  /// What follows reads sample n.
  __device__ __forceinline__ void select(const DirectParams<T>& p, int n) {
    image_ = x_ + static_cast<std::int64_t>(n) * (p.height * p.width * p.channels);
  }
  __device__ __forceinline__ float operator[](int i) const { return activation(image_[i]); }

 private:
  const T* x_;
  const T* image_ = nullptr;
};

/// Called by all threads, and read after a __syncthreads().
template <class T>
class Images<T, true> {
 public:
  explicit __device__ __forceinline__ Images(const DirectParams<T>& p) {
    QUERN_SHARED(values, float[256]);
    static_assert(kDirectThreads == 256, "a thread for each value of a pixel");
    const float pixel = static_cast<float>(threadIdx.x);
    values[threadIdx.x] = activation(stored_as<T>(normalised(pixel, p.mean, p.stddev)));
    values_ = values;
  }
  __device__ __forceinline__ void select(const DirectParams<T>& p, int n) {
    image_ = p.dataset.values + dataset_index(p.dataset, n) * (p.height * p.width * p.channels);
  }
  __device__ __forceinline__ float operator[](int i) const { return values_[image_[i]]; }

 private:
  const float* values_;
  const std::uint8_t* image_ = nullptr;
};

/// Where a thread stands: which four of its block's filters, and which run of pixels.
struct DirectPosition {
  int quad, run_in_block, runs_in_block;
  explicit __device__ __forceinline__ DirectPosition(int quads)
      : quad(static_cast<int>(threadIdx.x) % quads),
        run_in_block(static_cast<int>(threadIdx.x) / quads),
        runs_in_block(kDirectThreads / quads) {}
};

/// kDirectPixels output pixels (n, row, column), (n, row, column + 1), ..., of which `count` exist.
struct Run {
  int n = 0, row = 0, column = 0, count = 0;

  template <class T>
  __device__ __forceinline__ Run(const DirectParams<T>& p, int index) {
    if (index >= p.runs) return;
    int in_row;
    const int line = p.runs_a_row.divide(index, in_row);
    n = p.rows.divide(line, row);
    column = in_row * kDirectPixels;
    count = min(kDirectPixels, p.q - column);
  }
};

/// What the pixels of a run see of one row of the selected image and one channel, at stride and dilation 1:
/// kDirectPixels + S - 1 neighbours.
template <class T, class X, int length>
__device__ __forceinline__ void load_line(float (&line)[length], const DirectParams<T>& p, const X& x,
                                          const Run& run, int r, int channel) {
  const int h = run.row - p.pad_top + r, first = run.column - p.pad_left;
  const bool row_there = run.count > 0 && static_cast<unsigned>(h) < static_cast<unsigned>(p.height);
  const int start = h * p.width;
#pragma unroll
  for (int i = 0; i < length; ++i) {
    const bool there = row_there && static_cast<unsigned>(first + i) < static_cast<unsigned>(p.width);
    line[i] = there ? x[(start + first + i) * p.channels + channel] : 0.0f;
  }
}

/// Four neighbouring filters in memory: `there` of them exist; together they can be moved where filters come
/// in fours.
template <class T>
__device__ __forceinline__ void store_quad(T* address, const float (&values)[4], bool vector, int there) {
  if (vector && sizeof(T) == 4) {
    store4(reinterpret_cast<float*>(address), make_float4(values[0], values[1], values[2], values[3]));
  } else if (vector) {
    *reinterpret_cast<uint2*>(address) =
        make_uint2(pack_bf16x2(values[0], values[1]), pack_bf16x2(values[2], values[3]));
  } else {
#pragma unroll
    for (int v = 0; v < 4; ++v)
      if (v < there) address[v] = stored_as<T>(values[v]);
  }
}

template <class T>
__device__ __forceinline__ void load_quad(float (&values)[4], const T* address, bool vector, int there) {
  if (vector && sizeof(T) == 4) {
    const float4 v = load4(reinterpret_cast<const float*>(address));
    values[0] = v.x, values[1] = v.y, values[2] = v.z, values[3] = v.w;
  } else if (vector) {
    const uint2 v = *reinterpret_cast<const uint2*>(address);
    const float2 low = unpack_bf16x2(v.x), high = unpack_bf16x2(v.y);
    values[0] = low.x, values[1] = low.y, values[2] = high.x, values[3] = high.y;
  } else {
#pragma unroll
    for (int v = 0; v < 4; ++v) values[v] = v < there ? activation(address[v]) : 0.0f;
  }
}

constexpr int kWarps = kDirectThreads / 32;
constexpr int kMaxFilters = 4 * kDirectMaxQuads;  // of a block

/// Adds up one value a thread over all threads of a block with the same quad; every thread gets its quad's
/// sum. `sums` is the block's own for this call.
__device__ __forceinline__ void add_up_quads(float (&values)[5], float (&sums)[kWarps][5][kDirectMaxQuads],
                                             int quads) {
  const int thread = static_cast<int>(threadIdx.x), quad = thread % quads;
#pragma unroll
  for (int v = 0; v < 5; ++v) {
    for (int lanes = 16; lanes >= quads; lanes /= 2)
      values[v] += __shfl_xor_sync(0xffffffffu, values[v], lanes);
    if (thread % 32 < quads) sums[thread / 32][v][quad] = values[v];
  }
  __syncthreads();
#pragma unroll
  for (int v = 0; v < 5; ++v) {
    values[v] = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) values[v] += sums[w][v][quad];
  }
}

/// The statistics of what a block has in registers: pixels i < count of filters `first` to `first + 3` in
/// each thread.
__device__ __forceinline__ void direct_stats(const StatsMerge& merge, const float (&values)[kDirectPixels][4],
                                             int count, int quads, int first) {
  QUERN_SHARED(sums, float[2][kWarps][5][kDirectMaxQuads]);
  float mean[5] = {0, 0, 0, 0, static_cast<float>(count)};
#pragma unroll
  for (int i = 0; i < kDirectPixels; ++i)
#pragma unroll
    for (int v = 0; v < 4; ++v) mean[v] += i < count ? values[i][v] : 0.0f;
  add_up_quads(mean, sums[0], quads);
#pragma unroll
  for (int v = 0; v < 4; ++v) mean[v] /= mean[4];
  float squares[5] = {};
#pragma unroll
  for (int i = 0; i < kDirectPixels; ++i)
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const float deviation = i < count ? values[i][v] - mean[v] : 0.0f;
      squares[v] += deviation * deviation;
    }
  add_up_quads(squares, sums[1], quads);

  const int part = static_cast<int>(blockIdx.x), column_tile = static_cast<int>(blockIdx.y);
  float* const record = stats_record(merge, part);
  if (static_cast<int>(threadIdx.x) < quads)
#pragma unroll
    for (int v = 0; v < 4; ++v)
      if (first + v < merge.columns) {
        record[first + v] = mean[v];
        record[merge.columns + first + v] = squares[v];
      }
  if (threadIdx.x == 0) record[2 * merge.columns + column_tile] = mean[4];
  merge_stats(merge, part, column_tile, column_tile * 4 * quads, 4 * quads);
}

// y [N, P, Q, K]: four pixels by four filters a thread. Grid: runs of pixels, filters. `size` is R = S of a
// filter that steps by one, or 0 for any; then `channels` is C. A warp stores whole 128-byte lines of y; x
// comes through the first-level cache, weights from shared memory, where they lie as [(r, s, c), filter].
template <class T, int size, int channels, bool gather>
__global__ void __launch_bounds__(kDirectThreads)
    forward_direct_kernel(const __grid_constant__ DirectParams<T> p,
                          const __grid_constant__ StatsMerge stats) {
  QUERN_DYNAMIC_SHARED(weights, float);
  Images<T, gather> x(p);
  const DirectPosition at(p.quads);
  const int width = 4 * p.quads, block_filter = static_cast<int>(blockIdx.y) * width;
  for (int i = static_cast<int>(threadIdx.x); i < p.patch * width; i += kDirectThreads) {
    const int filter = block_filter + i % width;
    weights[i] = filter < p.filters ? p.w[filter * p.patch + i / width] : 0.0f;
  }
  const int filter = block_filter + 4 * at.quad, there = p.filters - filter;
  const Run run(p, static_cast<int>(blockIdx.x) * at.runs_in_block + at.run_in_block);
  x.select(p, run.n);
  float sum[kDirectPixels][4];
#pragma unroll
  for (int v = 0; v < 4; ++v) {
    const float bias = p.bias != nullptr && v < there ? p.bias[filter + v] : 0.0f;
#pragma unroll
    for (int i = 0; i < kDirectPixels; ++i) sum[i][v] = bias;
  }
  const auto multiply_add = [&](int i, float pixel, float4 w) {
    sum[i][0] = __fmaf_rn(pixel, w.x, sum[i][0]);
    sum[i][1] = __fmaf_rn(pixel, w.y, sum[i][1]);
    sum[i][2] = __fmaf_rn(pixel, w.z, sum[i][2]);
    sum[i][3] = __fmaf_rn(pixel, w.w, sum[i][3]);
  };
  __syncthreads();
  const float* const own = weights + 4 * at.quad;
  if constexpr (size > 0) {
#pragma unroll
    for (int r = 0; r < size; ++r)
#pragma unroll
      for (int c = 0; c < channels; ++c) {
        float line[kDirectPixels + size - 1];
        load_line(line, p, x, run, r, c);
#pragma unroll
        for (int s = 0; s < size; ++s) {
          const float4 w = load4(own + ((r * size + s) * channels + c) * width);
#pragma unroll
          for (int i = 0; i < kDirectPixels; ++i) multiply_add(i, line[i + s], w);
        }
      }
  } else {
    for (int r = 0; r < p.r; ++r) {
      const int h = run.row * p.stride_h - p.pad_top + r * p.dilation_h;
      if (h < 0 || h >= p.height) continue;
      for (int s = 0; s < p.s; ++s)
        for (int c = 0; c < p.channels; ++c) {
          const float4 w = load4(own + ((r * p.s + s) * p.channels + c) * width);
#pragma unroll
          for (int i = 0; i < kDirectPixels; ++i) {
            const int column = (run.column + i) * p.stride_w - p.pad_left + s * p.dilation_w;
            if (i < run.count && column >= 0 && column < p.width)
              multiply_add(i, x[(h * p.width + column) * p.channels + c], w);
          }
        }
    }
  }

#pragma unroll
  for (int i = 0; i < kDirectPixels; ++i) {
    float values[4];
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      values[v] = p.relu && sum[i][v] < 0.0f ? 0.0f : sum[i][v];  // NaN stays
      sum[i][v] = activation(stored_as<T>(values[v]));            // what statistics are taken of
    }
    if (i < run.count && there > 0) {
      const int pixel = (run.n * p.p + run.row) * p.q + run.column + i;
      store_quad(p.y + static_cast<std::int64_t>(pixel) * p.filters + filter, values, p.filters % 4 == 0,
                 there);
    }
  }
  if (stats.stats != nullptr) direct_stats(stats, sum, run.count, p.quads, filter);
}

constexpr int kLanesAPixel = 8;

// dx [N, H, W, C] for C = `channels` <= 4: eight lanes a pixel share its filters, four neighbours at a time.
// Weights lie in shared memory as [(r, s, c), filter]. Grid: pixels.
template <class T, int channels>
__global__ void __launch_bounds__(kDirectThreads, 1)
    backward_data_direct_kernel(const __grid_constant__ DirectParams<T> p, const T* mask, T* dx,
                                FastDivmod area, FastDivmod width) {
  QUERN_DYNAMIC_SHARED(weights, float);
  const int row_length = (p.filters + 3) / 4 * 4;
  for (int i = static_cast<int>(threadIdx.x); i < p.patch * row_length; i += kDirectThreads) {
    const int filter = i % row_length;
    weights[i] = filter < p.filters ? p.w[filter * p.patch + i / row_length] : 0.0f;
  }
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % kLanesAPixel;
  // Divided before it is added up: the lanes of all pixels may be more than an int counts.
  const int pixel = static_cast<int>(blockIdx.x) * (kDirectThreads / kLanesAPixel) +
                    static_cast<int>(threadIdx.x) / kLanesAPixel;
  int in_image, column;
  const int n = area.divide(pixel, in_image);
  const int row = width.divide(in_image, column);
  const bool there = n < p.n;
  float sum[channels] = {};
  for (int r = 0; r < p.r && there; ++r) {
    const int h = row + p.pad_top - r * p.dilation_h;
    if (h < 0 || h % p.stride_h != 0 || h / p.stride_h >= p.p) continue;
    for (int s = 0; s < p.s; ++s) {
      const int v = column + p.pad_left - s * p.dilation_w;
      if (v < 0 || v % p.stride_w != 0 || v / p.stride_w >= p.q) continue;
      const T* const gradient =
          p.dy + static_cast<std::int64_t>((n * p.p + h / p.stride_h) * p.q + v / p.stride_w) * p.filters;
      for (int filter = 4 * lane; filter < p.filters; filter += 4 * kLanesAPixel) {
        float dy[4];
        load_quad(dy, gradient + filter, p.filters % 4 == 0, p.filters - filter);
#pragma unroll
        for (int c = 0; c < channels; ++c) {
          const float4 w = load4(weights + ((r * p.s + s) * channels + c) * row_length + filter);
          sum[c] = __fmaf_rn(dy[0], w.x, sum[c]);
          sum[c] = __fmaf_rn(dy[1], w.y, sum[c]);
          sum[c] = __fmaf_rn(dy[2], w.z, sum[c]);
          sum[c] = __fmaf_rn(dy[3], w.w, sum[c]);
        }
      }
    }
  }
#pragma unroll
  for (int c = 0; c < channels; ++c) {
#pragma unroll
    for (int lanes = kLanesAPixel / 2; lanes > 0; lanes /= 2)
      sum[c] += __shfl_xor_sync(0xffffffffu, sum[c], lanes);
    const std::int64_t i = static_cast<std::int64_t>(pixel) * channels + c;
    if (there && lane == c)
      dx[i] = stored_as<T>(mask == nullptr || activation(mask[i]) > 0.0f ? sum[c] : 0.0f);
  }
}

struct WeightsMerge {
  MergeTree tree;
  float* records;  // (tree.count + tree.groups()) * gridDim.y parts of `sums` floats: [R * S * C + 1, filters
                   // of a block]
  unsigned* counters;  // tree.counters() for each tile of filters
};

// dw [K, R, S, C] and dbias [K]: a thread walks over runs of pixels with the sums of its four filters in
// registers; the block adds up its threads', the last blocks those of all. Grid: shares of the pixels,
// filters. Filters are R = S = `size` and step by one; C = `channels`.
template <class T, int size, int channels, bool gather>
__global__ void __launch_bounds__(kDirectThreads, 1)
    backward_weights_direct_kernel(const __grid_constant__ DirectParams<T> p,
                                   const __grid_constant__ WeightsMerge merge, float* dw, float* dbias) {
  constexpr int kPatch = size * size * channels;
  QUERN_SHARED(warp_sums, float[kWarps][(kPatch + 1) * kMaxFilters]);
  Images<T, gather> x(p);
  if constexpr (gather) __syncthreads();
  const DirectPosition at(p.quads);
  const int width = 4 * p.quads, block_filter = static_cast<int>(blockIdx.y) * width;
  const int filter = block_filter + 4 * at.quad, there = p.filters - filter;
  float sum[kPatch + 1][4] = {};
  const int step = static_cast<int>(gridDim.x) * at.runs_in_block;
  for (int index = static_cast<int>(blockIdx.x) * at.runs_in_block + at.run_in_block; index < p.runs;
       index += step) {
    const Run run(p, index);
    x.select(p, run.n);
    float dy[kDirectPixels][4];
#pragma unroll
    for (int i = 0; i < kDirectPixels; ++i) {
      const int pixel = (run.n * p.p + run.row) * p.q + run.column + i;
      if (i < run.count && there > 0)
        load_quad(dy[i], p.dy + static_cast<std::int64_t>(pixel) * p.filters + filter, p.filters % 4 == 0,
                  there);
      else
        dy[i][0] = dy[i][1] = dy[i][2] = dy[i][3] = 0;
#pragma unroll
      for (int v = 0; v < 4; ++v) sum[kPatch][v] += dy[i][v];
    }
#pragma unroll
    for (int r = 0; r < size; ++r)
#pragma unroll
      for (int c = 0; c < channels; ++c) {
        float line[kDirectPixels + size - 1];
        load_line(line, p, x, run, r, c);
#pragma unroll
        for (int s = 0; s < size; ++s)
#pragma unroll
          for (int i = 0; i < kDirectPixels; ++i)
#pragma unroll
            for (int v = 0; v < 4; ++v) {
              float& total = sum[(r * size + s) * channels + c][v];
              total = __fmaf_rn(line[i + s], dy[i][v], total);
            }
      }
  }

  const int block_sums = (kPatch + 1) * width, thread = static_cast<int>(threadIdx.x);
  const auto record = [&](int part) {
    return merge.records + (static_cast<std::int64_t>(part) * gridDim.y + blockIdx.y) * block_sums;
  };
  float* const own = record(static_cast<int>(blockIdx.x));
#pragma unroll
  for (int t = 0; t <= kPatch; ++t)
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      for (int lanes = 16; lanes >= p.quads; lanes /= 2)
        sum[t][v] += __shfl_xor_sync(0xffffffffu, sum[t][v], lanes);
      if (thread % 32 < p.quads) warp_sums[thread / 32][t * width + 4 * at.quad + v] = sum[t][v];
    }
  __syncthreads();
  for (int i = thread; i < block_sums; i += kDirectThreads) {
    float total = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) total += warp_sums[w][i];
    own[i] = total;
  }

  const auto merged = [&](int begin, int end, int i) {
    float total = 0;
    for (int part = begin; part < end; ++part) total += __ldcg(record(part) + i);
    return total;
  };
  const auto write = [&](int i, float total) {
    const int t = i / width, k = block_filter + i % width;
    if (k >= p.filters) return;
    if (t < kPatch)
      dw[k * kPatch + t] = total;
    else if (dbias != nullptr)
      dbias[k] = total;
  };
  const MergeTree& tree = merge.tree;
  unsigned* const counters = merge.counters + blockIdx.y * static_cast<unsigned>(tree.counters());
  const int group = tree.group_of(static_cast<int>(blockIdx.x));
  const int begin = tree.group_begin(group), end = tree.group_end(group);
  if (!last_to_arrive(counters + group, static_cast<unsigned>(end - begin))) return;
  for (int i = thread; i < block_sums; i += kDirectThreads) {
    const float total = merged(begin, end, i);
    if (tree.groups() == 1)
      write(i, total);
    else
      record(tree.count + group)[i] = total;
  }
  if (tree.groups() == 1) return;
  if (!last_to_arrive(counters + tree.groups(), static_cast<unsigned>(tree.groups()))) return;
  for (int i = thread; i < block_sums; i += kDirectThreads)
    write(i, merged(tree.count, tree.count + tree.groups(), i));
}

/// Where images come from.
template <class T>
void set_images(DirectParams<T>& p, const GatheredImages& images) {
  p.dataset = images.dataset;
  p.mean = images.mean;
  p.stddev = images.stddev;
}

/// Calls run.template operator()<size, channels>() for the patches that kernels are unrolled for; <0, 0> for
/// others.
template <class Run>
void for_patch(const Conv2dShape& s, const Run& run) {
  if (!conv2d_direct_unrolled(s)) return run.template operator()<0, 0>();
  if (s.r == 5) return run.template operator()<5, 1>();
  if (s.c == 1) return run.template operator()<3, 1>();
  return run.template operator()<3, 3>();
}

template <class T>
void forward_direct(const Conv2dForwardArgs& args, Stream stream) {
  const Conv2dShape& s = args.shape;
  auto p = direct_params<T>(args);
  set_images(p, args.images);
  p.w = args.w;
  p.bias = args.bias;
  p.y = static_cast<T*>(args.y);
  p.relu = args.relu;
  StatsMerge stats;
  if (args.stats != nullptr) {
    stats.tree = merge_tree(direct_pixel_tiles(s));
    stats.records = args.workspace;
    stats.counters = args.counters;
    stats.columns = s.k;
    stats.column_tiles = static_cast<int>(direct_filter_tiles(s));
    stats.stats = args.stats;
  }
  const dim3 grid(static_cast<unsigned>(direct_pixel_tiles(s)),
                  static_cast<unsigned>(direct_filter_tiles(s)));
  for_patch(s, [&]<int size, int channels>() {
    launch(args.images.gather ? QUERN_KERNEL(forward_direct_kernel<T, size, channels, true>)
                              : QUERN_KERNEL(forward_direct_kernel<T, size, channels, false>),
           grid, kDirectThreads, conv2d_forward_direct_shared(s), stream, p, stats);
  });
}

template <class T>
void backward_data_direct(const Conv2dBackwardDataArgs& args, Stream stream) {
  const Conv2dShape& s = args.shape;
  auto p = direct_params<T>(args);
  p.w = args.w;
  p.dy = static_cast<const T*>(args.dy);
  const std::int64_t lanes = std::int64_t{s.n} * s.h * s.w * kLanesAPixel;
  const auto run = [&](auto kernel) {
    launch(kernel, dim3(static_cast<unsigned>(ceil_div(lanes, kDirectThreads))), kDirectThreads,
           conv2d_backward_data_direct_shared(s), stream, p, static_cast<const T*>(args.x),
           static_cast<T*>(args.dx), FastDivmod(s.h * s.w), FastDivmod(s.w));
  };
  switch (s.c) {
    case 1:
      return run(QUERN_KERNEL(backward_data_direct_kernel<T, 1>));
    case 2:
      return run(QUERN_KERNEL(backward_data_direct_kernel<T, 2>));
    case 3:
      return run(QUERN_KERNEL(backward_data_direct_kernel<T, 3>));
    default:
      return run(QUERN_KERNEL(backward_data_direct_kernel<T, 4>));
  }
}

template <class T>
void backward_weights_direct(const Conv2dBackwardWeightsArgs& args, Stream stream) {
  const Conv2dShape& s = args.shape;
  auto p = direct_params<T>(args);
  set_images(p, args.images);
  p.dy = static_cast<const T*>(args.dy);
  const WeightsMerge merge{merge_tree(args.plan.splits), args.workspace, args.counters};
  const dim3 grid(static_cast<unsigned>(args.plan.splits), static_cast<unsigned>(direct_filter_tiles(s)));
  for_patch(s, [&]<int size, int channels>() {
    if constexpr (size > 0)
      launch(args.images.gather ? QUERN_KERNEL(backward_weights_direct_kernel<T, size, channels, true>)
                                : QUERN_KERNEL(backward_weights_direct_kernel<T, size, channels, false>),
             grid, kDirectThreads, 0, stream, p, merge, args.dw, args.dbias);
  });
}

}  // namespace

void conv2d_forward_direct(const Conv2dForwardArgs& args, Stream stream) {
  args.x_bf16 ? forward_direct<bf16>(args, stream) : forward_direct<float>(args, stream);
}
void conv2d_backward_data_direct(const Conv2dBackwardDataArgs& args, Stream stream) {
  args.dy_bf16 ? backward_data_direct<bf16>(args, stream) : backward_data_direct<float>(args, stream);
}
void conv2d_backward_weights_direct(const Conv2dBackwardWeightsArgs& args, Stream stream) {
  args.x_bf16 ? backward_weights_direct<bf16>(args, stream) : backward_weights_direct<float>(args, stream);
}

}  // namespace quern::kernels::QUERN_TARGET
