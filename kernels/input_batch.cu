// The input batch: gather by index, normalise, augment.
//
// Versions
//   1  A block a sample. Plain: four pixels a thread, a 4-byte load and a 16-byte store. Augmented: one
//   thread draws the
//      sample's transformation, then a pixel a thread, its four sources read through the first-level cache.
//      Predicted: launch-bound at batch 64, at the memory floor from batch 4096 on; not measured yet.
//   2  Writes bf16 too, eight pixels a thread; starts while the kernel before it ends.
//   3  Elastic distortion and erasing: a warp draws the nodes' displacements, a number a thread.
//      Predicted: no difference without them, as all blocks take the same branches; not measured yet.
//   4  Mirror images: a third stream's number and a selection per pixel. What is off draws no numbers of its
//   own.
//      Predicted: no difference; not measured yet.
//   5  Crops: two more numbers of a fourth stream for that thread where they are asked for.
//      Predicted: no difference; 64 registers instead of 59, the same occupancy; not measured yet.
//
// Floor, 28 x 28 x 1: 784 bytes in, 3136 out a sample in fp32, 1568 in bf16. Batch 64: 0.25 MB, 0.05 us at an
// H200's 4.8 TB/s; batch 1024: 4.0 MB, 0.8 us. One launch. A first convolution that reads the uint8 images
// itself would save launch and traffic both.

#include "kernels/input_batch.cuh"

#include "kernels/activation.cuh"
#include "quern/philox.hpp"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kThreads = 256;

// Divisions, not multiplications by a reciprocal: pixel / 255 is then the correctly rounded quotient on every
// device.
__device__ __forceinline__ float normalise(float pixel, const InputBatchArgs& args) {
  return (pixel / 255.0f - args.mean) / args.stddev;
}

__device__ __forceinline__ std::int64_t source_image(const InputBatchArgs& args, int sample) {
  return args.order[args.step->order_offset + static_cast<unsigned>(sample)];
}

// Shapes: images [M, pixels], x [batch, pixels], with pixels = height * width * channels. `width` pixels a
// thread at a time.
template <class T, int width>
__global__ void __launch_bounds__(kThreads) gather_kernel(const __grid_constant__ InputBatchArgs args) {
  const int sample = static_cast<int>(blockIdx.x);
  const std::int64_t pixels = static_cast<std::int64_t>(args.height) * args.width * args.channels;
  T* const to = static_cast<T*>(args.x) + sample * pixels;
  join_stream();
  const std::int64_t image = source_image(args, sample);
  const std::uint8_t* const from = args.images + image * pixels;
  if (threadIdx.x == 0) args.y[sample] = args.labels[image];
  for (std::int64_t i = threadIdx.x * width; i < pixels; i += kThreads * width) {
    Pack<width> pack;
    if constexpr (width == 1) {
      pack.v[0] = normalise(from[i], args);
    } else {
#pragma unroll
      for (int j = 0; j < width; j += 4) {
        const uchar4 p = *reinterpret_cast<const uchar4*>(from + i + j);
        pack.v[j] = normalise(p.x, args), pack.v[j + 1] = normalise(p.y, args);
        pack.v[j + 2] = normalise(p.z, args), pack.v[j + 3] = normalise(p.w, args);
      }
    }
    store_pack(to + i, pack);
  }
}

// Where an output pixel is read from: source = centre + matrix * (output - centre - shift), in (column, row)
// order; mirrored: of the mirror image.
struct Transform {
  float shift_h, shift_w;
  float xx, xy, yx, yy;
  bool mirrored;
};

// The inverse of factor * rotation * shear: numbers 0 to 4 of the sample's Philox stream, one of its third
// and two of its fourth.
__device__ __forceinline__ Transform draw_transform(const InputBatchArgs& args, int sample) {
  constexpr float kRadians = 0.017453292519943295f;
  const auto draw = [&](unsigned number, float limit) {
    const std::uint32_t bits = philox_u32(args.step->seed, RandomPurpose::augment, 0, args.step->step,
                                          8 * static_cast<std::uint64_t>(sample) + number);
    return (2.0f * uniform_from_u32(bits) - 1.0f) * limit;
  };
  Transform t;
  t.shift_h = draw(0, args.shift);
  t.shift_w = draw(1, args.shift);
  if (args.crop > 0) {
    const auto cut = [&](unsigned number) {
      const std::uint32_t bits = philox_u32(args.step->seed, RandomPurpose::augment, 3, args.step->step,
                                            2 * static_cast<std::uint64_t>(sample) + number);
      return static_cast<float>(below_from_u32(bits, 2 * args.crop + 1) - args.crop);
    };
    t.shift_h += cut(0);
    t.shift_w += cut(1);
  }
  const float angle = draw(2, args.rotate) * kRadians;
  const float factor = 1.0f + draw(3, args.scale);
  const float slant = tanf(draw(4, args.shear) * kRadians);
  const float cosine = cosf(angle) / factor, sine = sinf(angle) / factor;
  t.yx = -sine;
  t.yy = cosine;
  t.xx = cosine - slant * t.yx;
  t.xy = sine - slant * t.yy;
  t.mirrored = args.flip > 0.0f &&
               uniform_from_u32(philox_u32(args.step->seed, RandomPurpose::augment, 2, args.step->step,
                                           static_cast<std::uint64_t>(sample))) < args.flip;
  return t;
}

// The square that is erased, in whole numbers.
struct Square {
  int top, left, side;
  __device__ bool holds(int h, int w) const {
    return h >= top && h < top + side && w >= left && w < left + side;
  }
};

// Numbers 5 to 7 of the sample's stream.
__device__ __forceinline__ Square draw_square(const InputBatchArgs& args, int sample) {
  const auto below = [&](unsigned number, int limit) {
    const std::uint32_t bits = philox_u32(args.step->seed, RandomPurpose::augment, 0, args.step->step,
                                          8 * static_cast<std::uint64_t>(sample) + number);
    return below_from_u32(bits, limit);
  };
  Square square;
  square.side = below(5, args.erase + 1);
  square.top = below(6, args.height) - square.side / 2;
  square.left = below(7, args.width) - square.side / 2;
  return square;
}

// Displacements along h and w of every node of the elastic grid: number `thread` of the sample's second
// stream.
constexpr int kDisplacements = 2 * kElasticNodes * kElasticNodes;
__device__ __forceinline__ float draw_displacement(const InputBatchArgs& args, int sample, int thread) {
  const std::uint32_t bits =
      philox_u32(args.step->seed, RandomPurpose::augment, 1, args.step->step,
                 static_cast<std::uint64_t>(kDisplacements) * static_cast<std::uint64_t>(sample) +
                     static_cast<std::uint64_t>(thread));
  return (2.0f * uniform_from_u32(bits) - 1.0f) * args.elastic;
}

// A place along one side of the elastic grid: between node `first` and the next, `share` of the way.
struct GridPlace {
  int first;
  float share;
};
__device__ __forceinline__ GridPlace grid_place(int position, int extent) {
  const float at =
      static_cast<float>(position * (kElasticNodes - 1)) / static_cast<float>(extent > 1 ? extent - 1 : 1);
  const int node = static_cast<int>(at);
  const int first = node < kElasticNodes - 2 ? node : kElasticNodes - 2;
  return {first, at - static_cast<float>(first)};
}

// Along `axis` (0: h, 1: w), bilinear between four nodes.
__device__ __forceinline__ float displacement(const float* nodes, GridPlace h, GridPlace w, int axis) {
  const float* const node = nodes + 2 * (kElasticNodes * h.first + w.first) + axis;
  const float upper = (1.0f - w.share) * node[0] + w.share * node[2];
  const float lower = (1.0f - w.share) * node[2 * kElasticNodes] + w.share * node[2 * kElasticNodes + 2];
  return (1.0f - h.share) * upper + h.share * lower;
}

// Zero outside of the image.
__device__ __forceinline__ float pixel_at(const std::uint8_t* image, const InputBatchArgs& args, int h, int w,
                                          int c) {
  if (h < 0 || h >= args.height || w < 0 || w >= args.width) return 0.0f;
  return image[(static_cast<std::int64_t>(h) * args.width + w) * args.channels + c];
}

// Shapes as above.
template <class T>
__global__ void __launch_bounds__(kThreads) augment_kernel(const __grid_constant__ InputBatchArgs args) {
  const int sample = static_cast<int>(blockIdx.x);
  const int pixels = args.height * args.width;
  T* const to = static_cast<T*>(args.x) + static_cast<std::int64_t>(sample) * pixels * args.channels;
  QUERN_SHARED(transform, Transform[1]);
  QUERN_SHARED(square, Square[1]);
  QUERN_SHARED(nodes, float[kDisplacements]);
  join_stream();
  const std::int64_t image = source_image(args, sample);
  const std::uint8_t* const from = args.images + image * pixels * args.channels;
  if (threadIdx.x == 0) {
    args.y[sample] = args.labels[image];
    transform[0] = draw_transform(args, sample);
    square[0] = args.erase > 0 ? draw_square(args, sample) : Square{};
  }
  if (args.elastic != 0.0f && threadIdx.x < kDisplacements)
    nodes[threadIdx.x] = draw_displacement(args, sample, static_cast<int>(threadIdx.x));
  __syncthreads();
  const Transform t = transform[0];
  const Square erased = square[0];
  const float centre_h = 0.5f * static_cast<float>(args.height - 1);
  const float centre_w = 0.5f * static_cast<float>(args.width - 1);
  for (int i = static_cast<int>(threadIdx.x); i < pixels; i += kThreads) {
    const int out_h = i / args.width, out_w = i % args.width;
    if (erased.holds(out_h, out_w)) {
      for (int c = 0; c < args.channels; ++c)
        to[static_cast<std::int64_t>(i) * args.channels + c] = stored_as<T>(normalise(0.0f, args));
      continue;
    }
    const float x = static_cast<float>(out_w) - centre_w - t.shift_w;
    const float y = static_cast<float>(out_h) - centre_h - t.shift_h;
    float move_h = 0.0f, move_w = 0.0f;
    if (args.elastic != 0.0f) {
      const GridPlace h = grid_place(out_h, args.height), w = grid_place(out_w, args.width);
      move_h = displacement(nodes, h, w, 0);
      move_w = displacement(nodes, h, w, 1);
    }
    // Far outside everything is zero; the clamp keeps the conversion to int defined.
    const float source_h =
        fminf(fmaxf(centre_h + t.yx * x + t.yy * y + move_h, -2.0f), static_cast<float>(args.height) + 1.0f);
    const float unmirrored_w =
        fminf(fmaxf(centre_w + t.xx * x + t.xy * y + move_w, -2.0f), static_cast<float>(args.width) + 1.0f);
    const float source_w = t.mirrored ? static_cast<float>(args.width - 1) - unmirrored_w : unmirrored_w;
    const float top = floorf(source_h), left = floorf(source_w);
    const float down = source_h - top, right = source_w - left;
    const int h = static_cast<int>(top), w = static_cast<int>(left);
    for (int c = 0; c < args.channels; ++c) {
      const float upper =
          (1.0f - right) * pixel_at(from, args, h, w, c) + right * pixel_at(from, args, h, w + 1, c);
      const float lower =
          (1.0f - right) * pixel_at(from, args, h + 1, w, c) + right * pixel_at(from, args, h + 1, w + 1, c);
      to[static_cast<std::int64_t>(i) * args.channels + c] =
          stored_as<T>(normalise((1.0f - down) * upper + down * lower, args));
    }
  }
}

}  // namespace

void input_batch_forward(const InputBatchArgs& args, Stream stream) {
  const auto grid = static_cast<unsigned>(args.batch);
  with_type(args.type, [&]<class T>() {
    if (args.augment) {
      launch_dependent(QUERN_KERNEL(augment_kernel<T>), grid, kThreads, 0, stream, args);
      return;
    }
    constexpr int kPack = kPackOf<T>;
    const std::int64_t pixels = static_cast<std::int64_t>(args.height) * args.width * args.channels;
    const bool packs = pixels % kPack == 0 && aligned16(args.images) && aligned16(args.x);
    launch_dependent(packs ? QUERN_KERNEL(gather_kernel<T, kPack>) : QUERN_KERNEL(gather_kernel<T, 1>), grid,
                     kThreads, 0, stream, args);
  });
}

}  // namespace quern::kernels::QUERN_TARGET
