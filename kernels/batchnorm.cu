// Batch normalisation, forward.
//
// Versions
//   1  Statistics, where the producer's epilogue has not left them: each thread sums deviations from its
//   first element, so that
//      nothing large is squared; threads and blocks merge (count, mean, M2) pairwise after Chan, Golub &
//      LeVeque 1979, in a fixed order; a second, small launch merges the blocks. Then one pass normalises,
//      applies the ReLU and pools, with four channels a thread. With given statistics the whole of it is that
//      one pass, whose first threads also write what is saved. Predicted: the pass at 80 % of the floor
//      beyond the second-level cache; not measured yet.
//   2  The same for bf16, eight channels a thread, statistics in fp32; starts while the kernel before it
//   ends.
//
// Floor of the seed net's first layer (x 28 x 28 x 32, pooled 2x2), given statistics: 4 bytes an fp32 element
// in, 1.25 out. Batch 64: 8.4 MB, 1.8 us at an H200's 4.8 TB/s; batch 1024: 135 MB, 28 us. One launch. Its
// own statistics add 4 bytes an element and two launches.

#include "kernels/batchnorm.cuh"

#include "kernels/batchnorm_rows.cuh"
#include "kernels/pooling.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

// Shapes: x [rows, C] -> partials [row_blocks, 2, C]: mean and M2 of each block's rows. Grid (channel groups,
// row_blocks).
template <class T, int width>
__global__ void __launch_bounds__(kNormThreads)
    partial_moments_kernel(const T* x, float* partials, std::int64_t rows, int channels, RowTiling tiling) {
  const RowLane lane(tiling, rows, channels, static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y));
  Pack<width> first{}, sum{}, squares{};
  int count = 0;
  join_stream();
  if (lane.active)
    for (std::int64_t row = lane.row_begin; row < lane.row_end; row += lane.row_step) {
      const Pack<width> v = load_pack<width>(x + row * channels + lane.channel);
      if (count++ == 0) first = v;
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const float deviation = v.v[i] - first.v[i];
        sum.v[i] += deviation;
        squares.v[i] = fmaf(deviation, deviation, squares.v[i]);
      }
    }
  Moments<width> moments;
  moments.count = static_cast<float>(count);
  const float divisor = count > 0 ? moments.count : 1.0f;
#pragma unroll
  for (int i = 0; i < width; ++i) {
    const float mean_deviation = sum.v[i] / divisor;
    moments.mean[i] = first.v[i] + mean_deviation;
    moments.m2[i] = fmaxf(squares.v[i] - sum.v[i] * mean_deviation, 0.0f);
  }
  QUERN_SHARED(parts, Moments<width>[kNormThreads]);
  reduce_rows(tiling, parts, moments, [](Moments<width>& a, const Moments<width>& b) { a.merge(b); });
  if (!lane.active || lane.row_lane != 0) return;
  float* const out = partials + static_cast<std::int64_t>(blockIdx.y) * 2 * channels + lane.channel;
#pragma unroll
  for (int i = 0; i < width; ++i) {
    out[i] = parts[threadIdx.x].mean[i];
    out[channels + i] = parts[threadIdx.x].m2[i];
  }
}

// What a channel leaves behind: saved and running statistics.
__device__ __forceinline__ void save_channel(const BatchNormForwardArgs& args, int c, float mean,
                                             float variance) {
  args.saved[c] = mean;
  args.saved[args.channels + c] = 1.0f / sqrtf(variance + args.epsilon);
  args.new_running_mean[c] = fmaf(args.momentum, args.running_mean[c], (1.0f - args.momentum) * mean);
  args.new_running_var[c] = fmaf(args.momentum, args.running_var[c], (1.0f - args.momentum) * variance);
}

// Shapes: partials [row_blocks, 2, C]. A warp of row lanes shares a channel: grid ceil(C / 8), lane l takes
// blocks l, l + 32, ..
__global__ void __launch_bounds__(kNormThreads)
    merge_moments_kernel(const __grid_constant__ BatchNormForwardArgs args, RowTiling tiling) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int channel = static_cast<int>(blockIdx.x) * (kNormThreads / 32) + static_cast<int>(threadIdx.x) / 32;
  Moments<1> moments{};
  join_stream();
  if (channel < args.channels)
    for (int block = lane; block < tiling.row_blocks; block += 32) {
      const float* const part =
          args.workspace + static_cast<std::int64_t>(block) * 2 * args.channels + channel;
      const std::int64_t begin = static_cast<std::int64_t>(block) * tiling.rows_per_block;
      const std::int64_t left = args.rows - begin;
      Moments<1> other;
      other.count = static_cast<float>(left < tiling.rows_per_block ? left : tiling.rows_per_block);
      other.mean[0] = part[0];
      other.m2[0] = part[args.channels];
      moments.merge(other);
    }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    Moments<1> other;
    other.count = __shfl_down_sync(kAllLanes, moments.count, static_cast<unsigned>(distance));
    other.mean[0] = __shfl_down_sync(kAllLanes, moments.mean[0], static_cast<unsigned>(distance));
    other.m2[0] = __shfl_down_sync(kAllLanes, moments.m2[0], static_cast<unsigned>(distance));
    moments.merge(other);
  }
  if (lane == 0 && channel < args.channels)
    save_channel(args, channel, moments.mean[0], moments.m2[0] / static_cast<float>(args.rows));
}

// y = slope * (x - mean) + beta for `width` channels.
template <int width>
struct Normaliser {
  Pack<width> mean, slope, beta;
  bool relu;

  // `spread` holds variances, or their 1 / sqrt(. + epsilon) already.
  __device__ __forceinline__ Normaliser(const BatchNormForwardArgs& args, const float* means,
                                        const float* spread, bool is_variance, int c)
      : mean(load_pack<width>(means + c)),
        slope(load_pack<width>(spread + c)),
        beta(load_pack<width>(args.beta + c)),
        relu(args.relu) {
    const Pack<width> gamma = load_pack<width>(args.gamma + c);
#pragma unroll
    for (int i = 0; i < width; ++i)
      slope.v[i] = gamma.v[i] * (is_variance ? 1.0f / sqrtf(slope.v[i] + args.epsilon) : slope.v[i]);
  }
  __device__ __forceinline__ float operator()(float x, int i) const {
    const float y = fmaf(x - mean.v[i], slope.v[i], beta.v[i]);
    return relu && y < 0.0f ? 0.0f : y;
  }
};

struct Statistics {
  const float *mean, *spread;
  bool is_variance;
};

// Shapes: x [rows, C], y [rows, C] or pooled [N,P,Q,C]; a thread has `width` channels of one output element.
template <class T, int width, bool pool>
__global__ void __launch_bounds__(kNormThreads, 1)
    normalise_kernel(const __grid_constant__ BatchNormForwardArgs args, Statistics source,
                     std::int64_t threads, bool saves) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kNormThreads + threadIdx.x;
  const auto* const x = static_cast<const T*>(args.x);
  auto* const y = static_cast<T*>(args.y);
  join_stream();
  if (saves && thread < args.channels) {
    const auto c = static_cast<int>(thread);
    save_channel(args, c, args.stats[c], args.stats[args.channels + c]);
  }
  if (thread >= threads) return;
  if constexpr (!pool) {
    const auto c = static_cast<int>(thread * width % args.channels);
    const Normaliser<width> normalise(args, source.mean, source.spread, source.is_variance, c);
    Pack<width> v = load_pack<width>(x + thread * width);
#pragma unroll
    for (int i = 0; i < width; ++i) v.v[i] = normalise(v.v[i], i);
    store_pack(y + thread * width, v);
  } else {
    const PoolWindow& w = args.window;
    const Place at = place_of<width>(thread, w.out_height, w.out_width, args.channels);
    const Normaliser<width> normalise(args, source.mean, source.spread, source.is_variance, at.c);
    const TapRange taps = taps_inside(w, at.row, at.column);
    Maximum best[width];
    for (int r = taps.r_begin; r < taps.r_end; ++r)
      for (int s = taps.s_begin; s < taps.s_end; ++s) {
        const int h = at.row * w.stride_h - w.pad_top + r, v = at.column * w.stride_w - w.pad_left + s;
        const Pack<width> pixel =
            load_pack<width>(x + offset_of(at.n, h, v, at.c, w.height, w.width, args.channels));
#pragma unroll
        for (int i = 0; i < width; ++i) best[i].take(normalise(pixel.v[i], i), r * w.s + s);
      }
    Pack<width> maximum;
    Indices<width> winner;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      maximum.v[i] = best[i].value;
      winner.v[i] = static_cast<std::uint8_t>(best[i].index);
    }
    store_pack(y + thread * width, maximum);
    if (args.argmax != nullptr) store_indices<width>(args.argmax + thread * width, winner);
  }
}

template <class T>
void forward(const BatchNormForwardArgs& args, Stream stream) {
  constexpr int kPack = kPackOf<T>;
  const auto* const x = static_cast<const T*>(args.x);
  const bool training = args.saved != nullptr;
  if (training && args.stats == nullptr) {
    const RowTiling tiling = row_tiling(args.rows, args.channels, args.type);
    const dim3 grid(static_cast<unsigned>((args.channels / tiling.width + tiling.lanes - 1) / tiling.lanes),
                    static_cast<unsigned>(tiling.row_blocks));
    launch_dependent(tiling.width == kPack ? QUERN_KERNEL(partial_moments_kernel<T, kPack>)
                                           : QUERN_KERNEL(partial_moments_kernel<T, 1>),
                     grid, kNormThreads, 0, stream, x, args.workspace, args.rows, args.channels, tiling);
    constexpr int kChannelsPerBlock = kNormThreads / 32;
    launch_dependent(QUERN_KERNEL(merge_moments_kernel),
                     static_cast<unsigned>((args.channels + kChannelsPerBlock - 1) / kChannelsPerBlock),
                     kNormThreads, 0, stream, args, tiling);
  }
  const Statistics source = !training ? Statistics{args.running_mean, args.running_var, true}
                            : args.stats != nullptr
                                ? Statistics{args.stats, args.stats + args.channels, true}
                                : Statistics{args.saved, args.saved + args.channels, false};
  const bool packs = args.channels % kPack == 0;
  const std::int64_t images =
      args.pool ? args.rows / (static_cast<std::int64_t>(args.window.height) * args.window.width) : 0;
  const std::int64_t outputs =
      args.pool ? images * args.window.out_height * args.window.out_width : args.rows;
  const std::int64_t threads = outputs * (args.channels / (packs ? kPack : 1));
  const bool saves = training && args.stats != nullptr;
  const std::int64_t launched = saves ? std::max<std::int64_t>(threads, args.channels) : threads;
  const auto kernel = args.pool ? packs ? QUERN_KERNEL(normalise_kernel<T, kPack, true>)
                                        : QUERN_KERNEL(normalise_kernel<T, 1, true>)
                      : packs ? QUERN_KERNEL(normalise_kernel<T, kPack, false>)
                                : QUERN_KERNEL(normalise_kernel<T, 1, false>);
  launch_dependent(kernel, static_cast<unsigned>((launched + kNormThreads - 1) / kNormThreads), kNormThreads,
                   0, stream, args, source, threads, saves);
}

}  // namespace

void batchnorm_forward(const BatchNormForwardArgs& args, Stream stream) {
  with_type(args.type, [&]<class T>() { forward<T>(args, stream); });
}

}  // namespace quern::kernels::QUERN_TARGET
