// Batch normalisation, backward.
//
//   dbeta = sum g, dgamma = sum g * xhat, dx = gamma / sqrt(var + eps) * (g - dbeta / rows - xhat * dgamma /
//   rows), with xhat = (x - mean) / sqrt(var + eps) and g the gradient behind the fused ReLU and pooling
//   (Ioffe & Szegedy 2015).
//
// Versions
//   1  Three launches: partial sums over rows, a small merge, and the pass that writes dx. Where pooled, the
//   sums run over the
//      pooled gradient (a quarter of the rows for 2x2) and fetch x where the maximum was, since g is zero
//      elsewhere; the last pass gathers g from the windows over each element. All in a fixed order.
//      Predicted: the last pass at 80 % of its floor beyond the second-level cache, the sums at half of
//      theirs because x is fetched in single words; not measured yet.
//   2  The same for bf16, eight channels a thread, sums in fp32; starts while the kernel before it ends.
//   3  One launch: the three became phases of a kernel whose blocks wait for each other in between, with the
//      same sums in the same order. No more blocks than fit on the device at once, each with several parts.
//      Predicted: two barriers at 1 us against two launches at 2 us, and dy still in the second-level cache.
//
// Floor of the seed net's first layer in fp32 (x 28 x 28 x 32, pooled 2x2, masked): sums 4 bytes an element
// of x (1.25 for the pooled gradient and its bytes, the rest x itself, at most), dx 4 + 1.25 + 4. Batch 64:
// 21 MB, 4.4 us at an H200's 4.8 TB/s; batch 1024: 340 MB, 71 us. One launch, two barriers.

#include "kernels/batchnorm.cuh"
#include "kernels/batchnorm_rows.cuh"
#include "kernels/pooling.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

/// Resident at once: 80 registers a thread and 8 KiB of shared memory a block; eight bf16 channels a thread
/// take more of both.
template <class T>
constexpr int kBlocksAMultiprocessor = sizeof(T) == 4 ? 3 : 2;

// The gradient behind the ReLU that follows the normalisation, at element `offset` of dy.
template <class T, int width>
__device__ __forceinline__ Pack<width> rectified(const BatchNormBackwardArgs& args, std::int64_t offset) {
  Pack<width> g = load_pack<width>(static_cast<const T*>(args.dy) + offset);
  if (args.y != nullptr) {
    const Pack<width> y = load_pack<width>(static_cast<const T*>(args.y) + offset);
#pragma unroll
    for (int i = 0; i < width; ++i) g.v[i] = y.v[i] > 0.0f ? g.v[i] : 0.0f;
  }
  return g;
}

// Where the maximum of pooled row `row` lies in x, by its tap.
__device__ __forceinline__ std::int64_t winner_offset(const BatchNormBackwardArgs& args, std::int64_t row,
                                                      int tap, int c) {
  const PoolWindow& w = args.window;
  const auto q = static_cast<int>(row % w.out_width);
  const auto p = static_cast<int>(row / w.out_width % w.out_height);
  const auto n = static_cast<int>(row / (static_cast<std::int64_t>(w.out_width) * w.out_height));
  return offset_of(n, p * w.stride_h - w.pad_top + tap / w.s, q * w.stride_w - w.pad_left + tap % w.s, c,
                   w.height, w.width, args.channels);
}

template <int width>
struct Sums {
  float g[width], g_xhat[width];
};

/// Workspace: partial sums [row_blocks, 2, C].
struct BackwardParams {
  BatchNormBackwardArgs args;
  std::int64_t grad_rows;  // of dy: pooled rows where pooled
  RowTiling tiling;
  int groups;  // parts along the channels

  __host__ __device__ int parts() const { return groups * tiling.row_blocks; }
};

// dy [grad_rows, C], x [rows, C] -> partial sums. A part is some channels of a block of rows.
template <class T, int width, bool pool>
struct PartialSums {
  static __device__ __forceinline__ void run(const BackwardParams& p) {
    for (auto part = static_cast<int>(blockIdx.x); part < p.parts(); part += static_cast<int>(gridDim.x))
      sum_part(p, part % p.groups, part / p.groups);
  }

  static __device__ __forceinline__ void sum_part(const BackwardParams& p, int group, int row_block) {
    const BatchNormBackwardArgs& args = p.args;
    const RowLane lane(p.tiling, p.grad_rows, args.channels, group, row_block);
    const auto* const image = static_cast<const T*>(args.x);
    Sums<width> sums{};
    if (lane.active) {
      const Pack<width> mean = load_pack<width>(args.saved + lane.channel);
      const Pack<width> inverse = load_pack<width>(args.saved + args.channels + lane.channel);
      for (std::int64_t row = lane.row_begin; row < lane.row_end; row += lane.row_step) {
        const std::int64_t offset = row * args.channels + lane.channel;
        const Pack<width> g = rectified<T, width>(args, offset);
        Pack<width> x;
        if constexpr (pool) {
          const Indices<width> winner = load_indices<width>(args.argmax + offset);
#pragma unroll
          for (int i = 0; i < width; ++i)
            x.v[i] = activation(image[winner_offset(args, row, winner.v[i], lane.channel + i)]);
        } else {
          x = load_pack<width>(image + offset);
        }
#pragma unroll
        for (int i = 0; i < width; ++i) {
          sums.g[i] += g.v[i];
          sums.g_xhat[i] = fmaf(g.v[i], (x.v[i] - mean.v[i]) * inverse.v[i], sums.g_xhat[i]);
        }
      }
    }
    QUERN_SHARED(parts, Sums<width>[kNormThreads]);
    reduce_rows(p.tiling, parts, sums, [](Sums<width>& a, const Sums<width>& b) {
#pragma unroll
      for (int i = 0; i < width; ++i) {
        a.g[i] += b.g[i];
        a.g_xhat[i] += b.g_xhat[i];
      }
    });
    if (!lane.active || lane.row_lane != 0) return;
    float* const out =
        args.workspace + static_cast<std::int64_t>(row_block) * 2 * args.channels + lane.channel;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      out[i] = parts[threadIdx.x].g[i];
      out[args.channels + i] = parts[threadIdx.x].g_xhat[i];
    }
  }
};

constexpr int kMergedChannels = kNormThreads / 32;  // of a block: a warp each

// Partial sums -> dgamma, dbeta [C].
struct MergeSums {
  static __device__ __forceinline__ void run(const BackwardParams& p) {
    const BatchNormBackwardArgs& args = p.args;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int channel = static_cast<int>(blockIdx.x) * kMergedChannels + static_cast<int>(threadIdx.x) / 32;
         channel < args.channels; channel += static_cast<int>(gridDim.x) * kMergedChannels) {
      float g = 0, g_xhat = 0;
      for (int block = lane; block < p.tiling.row_blocks; block += 32) {
        const float* const part =
            args.workspace + static_cast<std::int64_t>(block) * 2 * args.channels + channel;
        g += part[0];
        g_xhat += part[args.channels];
      }
      g = warp_sum(g);
      g_xhat = warp_sum(g_xhat);
      if (lane != 0) continue;
      args.dbeta[channel] = g;
      args.dgamma[channel] = g_xhat;
    }
  }
};

// x and dx [rows, C], dy [rows, C] or pooled [N,P,Q,C]; a thread has `width` channels of one element of x.
template <class T, int width, bool pool>
struct InputGradient {
  static __device__ __forceinline__ void run(const BackwardParams& p) {
    const std::int64_t count = p.args.rows * (p.args.channels / width);
    const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kNormThreads;
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kNormThreads + threadIdx.x; i < count;
         i += step)
      element(p.args, i);
  }

  static __device__ __forceinline__ void element(const BatchNormBackwardArgs& args, std::int64_t index) {
    const std::int64_t offset = index * width;
    const auto c = static_cast<int>(offset % args.channels);
    Pack<width> g;
    if constexpr (pool) {
      const Place at = place_of<width>(index, args.window.height, args.window.width, args.channels);
      g = maximum_gradient<width>(args.window, args.channels, at, args.argmax,
                                  [&](std::int64_t pooled) { return rectified<T, width>(args, pooled); });
    } else {
      g = rectified<T, width>(args, offset);
    }
    const Pack<width> x = load_pack<width>(static_cast<const T*>(args.x) + offset);
    const Pack<width> mean = load_pack<width>(args.saved + c);
    const Pack<width> inverse = load_pack<width>(args.saved + args.channels + c);
    const Pack<width> gamma = load_pack<width>(args.gamma + c);
    const auto rows = static_cast<float>(args.rows);
    Pack<width> dx;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float xhat = (x.v[i] - mean.v[i]) * inverse.v[i];
      const float centred = g.v[i] - args.dbeta[c + i] / rows - xhat * (args.dgamma[c + i] / rows);
      dx.v[i] = !args.mask || x.v[i] > 0.0f ? gamma.v[i] * inverse.v[i] * centred : 0.0f;
    }
    store_pack(static_cast<T*>(args.dx) + offset, dx);
  }
};

template <class T, int width, bool pool>
void backward(const BackwardParams& p, Stream stream) {
  const auto blocks = [](std::int64_t work, std::int64_t per_block) {
    return (work + per_block - 1) / per_block;
  };
  const std::int64_t elements = p.args.rows * (p.args.channels / width);
  const std::int64_t wanted = std::max(
      {std::int64_t{p.parts()}, blocks(p.args.channels, kMergedChannels), blocks(elements, kNormThreads)});
  launch_phases<kNormThreads, kBlocksAMultiprocessor<T>>(
      Phases<PartialSums<T, width, pool>, MergeSums, InputGradient<T, width, pool>>{}, "batchnorm_backward",
      p.args.multiprocessors, wanted, stream, p, p.args.counters);
}

template <class T>
void backward(const BatchNormBackwardArgs& args, Stream stream) {
  constexpr int kPack = kPackOf<T>;
  const PoolWindow& w = args.window;
  BackwardParams p{};
  p.args = args;
  p.grad_rows = args.pool
                    ? args.rows / (static_cast<std::int64_t>(w.height) * w.width) * w.out_height * w.out_width
                    : args.rows;
  p.tiling = row_tiling(p.grad_rows, args.channels, args.type);
  p.groups = (args.channels / p.tiling.width + p.tiling.lanes - 1) / p.tiling.lanes;
  if (p.tiling.width == kPack)
    args.pool ? backward<T, kPack, true>(p, stream) : backward<T, kPack, false>(p, stream);
  else
    args.pool ? backward<T, 1, true>(p, stream) : backward<T, 1, false>(p, stream);
}

}  // namespace

void batchnorm_backward(const BatchNormBackwardArgs& args, Stream stream) {
  with_type(args.type, [&]<class T>() { backward<T>(args, stream); });
}

}  // namespace quern::kernels::QUERN_TARGET
