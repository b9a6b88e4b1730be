// The input batch: gather by index, normalise, augment.
//
// Versions
//   1  A block a sample. Plain: four pixels a thread, a 4-byte load and a 16-byte store. Augmented: one
//   thread draws the
//      sample's transformation, then a pixel a thread, its four sources read through the first-level cache.
//      Predicted: launch-bound at batch 64, at the memory floor from batch 4096 on; not measured yet.
//
// Floor, 28 x 28 x 1: 784 bytes in, 3136 out a sample. Batch 64: 0.25 MB, 0.05 us at an H200's 4.8 TB/s;
// batch 1024: 4.0 MB, 0.8 us. One launch. A first convolution that reads the uint8 images itself would save
// launch and traffic both.

#include "kernels/input_batch.cuh"

#include "kernels/intrinsics.cuh"
#include "kernels/platform.cuh"
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

// Shapes: images [M, pixels], x [batch, pixels], with pixels = height * width * channels.
template <bool vectorised>
__global__ void __launch_bounds__(kThreads) gather_kernel(const __grid_constant__ InputBatchArgs args) {
  const int sample = static_cast<int>(blockIdx.x);
  const std::int64_t image = source_image(args, sample);
  const std::int64_t pixels = static_cast<std::int64_t>(args.height) * args.width * args.channels;
  const std::uint8_t* const from = args.images + image * pixels;
  float* const to = args.x + sample * pixels;
  if (threadIdx.x == 0) args.y[sample] = args.labels[image];
  if (vectorised) {
    for (std::int64_t i = threadIdx.x * 4; i < pixels; i += kThreads * 4) {
      const uchar4 p = *reinterpret_cast<const uchar4*>(from + i);
      store4(to + i, make_float4(normalise(p.x, args), normalise(p.y, args), normalise(p.z, args),
                                 normalise(p.w, args)));
    }
  } else {
    for (std::int64_t i = threadIdx.x; i < pixels; i += kThreads) to[i] = normalise(from[i], args);
  }
}

// Where an output pixel is read from: source = centre + matrix * (output - centre - shift), in (column, row)
// order.
struct Transform {
  float shift_h, shift_w;
  float xx, xy, yx, yy;
};

// The inverse of factor * rotation * shear; numbers 0 to 4 of the sample's Philox stream.
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
  const float angle = draw(2, args.rotate) * kRadians;
  const float factor = 1.0f + draw(3, args.scale);
  const float slant = tanf(draw(4, args.shear) * kRadians);
  const float cosine = cosf(angle) / factor, sine = sinf(angle) / factor;
  t.yx = -sine;
  t.yy = cosine;
  t.xx = cosine - slant * t.yx;
  t.xy = sine - slant * t.yy;
  return t;
}

// Zero outside of the image.
__device__ __forceinline__ float pixel_at(const std::uint8_t* image, const InputBatchArgs& args, int h, int w,
                                          int c) {
  if (h < 0 || h >= args.height || w < 0 || w >= args.width) return 0.0f;
  return image[(static_cast<std::int64_t>(h) * args.width + w) * args.channels + c];
}

// Shapes as above.
__global__ void __launch_bounds__(kThreads) augment_kernel(const __grid_constant__ InputBatchArgs args) {
  const int sample = static_cast<int>(blockIdx.x);
  const std::int64_t image = source_image(args, sample);
  const int pixels = args.height * args.width;
  const std::uint8_t* const from = args.images + image * pixels * args.channels;
  float* const to = args.x + static_cast<std::int64_t>(sample) * pixels * args.channels;
  QUERN_SHARED(transform, Transform[1]);
  if (threadIdx.x == 0) {
    args.y[sample] = args.labels[image];
    transform[0] = draw_transform(args, sample);
  }
  __syncthreads();
  const Transform t = transform[0];
  const float centre_h = 0.5f * static_cast<float>(args.height - 1);
  const float centre_w = 0.5f * static_cast<float>(args.width - 1);
  for (int i = static_cast<int>(threadIdx.x); i < pixels; i += kThreads) {
    const float x = static_cast<float>(i % args.width) - centre_w - t.shift_w;
    const float y = static_cast<float>(i / args.width) - centre_h - t.shift_h;
    // Far outside everything is zero; the clamp keeps the conversion to int defined.
    const float source_h =
        fminf(fmaxf(centre_h + t.yx * x + t.yy * y, -2.0f), static_cast<float>(args.height) + 1.0f);
    const float source_w =
        fminf(fmaxf(centre_w + t.xx * x + t.xy * y, -2.0f), static_cast<float>(args.width) + 1.0f);
    const float top = floorf(source_h), left = floorf(source_w);
    const float down = source_h - top, right = source_w - left;
    const int h = static_cast<int>(top), w = static_cast<int>(left);
    for (int c = 0; c < args.channels; ++c) {
      const float upper =
          (1.0f - right) * pixel_at(from, args, h, w, c) + right * pixel_at(from, args, h, w + 1, c);
      const float lower =
          (1.0f - right) * pixel_at(from, args, h + 1, w, c) + right * pixel_at(from, args, h + 1, w + 1, c);
      to[static_cast<std::int64_t>(i) * args.channels + c] =
          normalise((1.0f - down) * upper + down * lower, args);
    }
  }
}

}  // namespace

void input_batch_forward(const InputBatchArgs& args, Stream stream) {
  const auto grid = static_cast<unsigned>(args.batch);
  if (args.augment) {
    launch(QUERN_KERNEL(augment_kernel), grid, kThreads, 0, stream, args);
    return;
  }
  const std::int64_t pixels = static_cast<std::int64_t>(args.height) * args.width * args.channels;
  const bool vectorised = pixels % 4 == 0 && aligned16(args.images) && aligned16(args.x);
  launch(vectorised ? QUERN_KERNEL(gather_kernel<true>) : QUERN_KERNEL(gather_kernel<false>), grid, kThreads,
         0, stream, args);
}

}  // namespace quern::kernels::QUERN_TARGET
