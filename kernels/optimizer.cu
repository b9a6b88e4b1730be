// The optimizer: SGD, momentum, Nesterov, Adam, AdamW over every parameter tensor in one launch.
//
// Versions
//   1  A table of segments travels in the kernel's parameters; a thread finds its segment by bisection and
//   updates four
//      consecutive elements with 16-byte accesses. Learning rate and bias corrections are read from device
//      memory. Clipping costs one launch more: partial sums of squares in double, which every block of the
//      update adds up in the same order. Predicted: bound by the second-level cache (the state of the seed
//      nets stays there), 1 to 2 us above the launch; not measured yet.
//   2  The last block to arrive moves the step's scalars on, so that a walk of the plan needs no copy before
//      it: one node fewer a step. Predicted: one L2 atomic a block, 0.3 to 0.5 us at the end of the launch,
//      against 2 us for a copy node; not measured yet.
//
// Floor: Adam moves 28 bytes a parameter (reads g, p, m, v; writes p, m, v). The seed net with batch
// normalisation has 422 thousand: 11.8 MB, 2.5 us from memory at an H200's 4.8 TB/s, less from its 60 MB
// second-level cache. One launch; independent of the batch.

#include "kernels/optimizer.cuh"

#include <algorithm>

#include "kernels/advance.cuh"
#include "kernels/intrinsics.cuh"
#include "kernels/warp.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kThreads = 256;
constexpr int kMaxSegments =
    128;  // 24 bytes each: inside the 4 KiB of kernel parameters that every architecture has

struct Segment {
  std::int64_t offset, elements;
  std::int32_t first_quad;  // quads of four elements in the segments before this one
  std::int32_t decay;
};

struct SegmentTable {
  int count = 0;
  int quads = 0;
  Segment segments[kMaxSegments];
};

struct Pointers {
  const StepScalars* step;
  const float* grads;
  float *params, *slot1, *slot2;
  const double* partial_norms;  // null: no clipping
  const StepGuard* guard;       // null: no step is skipped
};

struct Settings {
  float momentum, beta1, beta2, epsilon, weight_decay, clip_norm;
};

// The elements of quad `quad`: the first one, and how many of the four lie inside the segment.
struct Span {
  std::int64_t first;
  int count;
  bool decay;
};

__device__ __forceinline__ Span locate(const SegmentTable& table, int quad) {
  int low = 0, high = table.count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (table.segments[middle].first_quad <= quad)
      low = middle;
    else
      high = middle - 1;
  }
  const Segment& segment = table.segments[low];
  const std::int64_t inside = static_cast<std::int64_t>(quad - segment.first_quad) * 4;
  const std::int64_t left = segment.elements - inside;
  return {segment.offset + inside, left < 4 ? static_cast<int>(left) : 4, segment.decay != 0};
}

// One parameter's step; g is clipped already.
template <OptimizerKind kind>
__device__ __forceinline__ void update(const Settings& s, float lr, float corrected_lr, float decay, float g,
                                       float& p, float& slot1, float& slot2) {
  if constexpr (kind == OptimizerKind::sgd) {
    p -= lr * fmaf(decay, p, g);
  } else if constexpr (kind == OptimizerKind::momentum) {
    slot1 = fmaf(s.momentum, slot1, fmaf(decay, p, g));
    p -= lr * slot1;
  } else if constexpr (kind == OptimizerKind::nesterov) {
    const float total = fmaf(decay, p, g);
    slot1 = fmaf(s.momentum, slot1, total);
    p -= lr * fmaf(s.momentum, slot1, total);
  } else {
    if constexpr (kind == OptimizerKind::adam)
      g = fmaf(decay, p, g);
    else
      p -= lr * decay * p;
    slot1 = fmaf(s.beta1, slot1, (1.0f - s.beta1) * g);
    slot2 = fmaf(s.beta2, slot2, (1.0f - s.beta2) * g * g);
    p -= corrected_lr * slot1 / (sqrtf(slot2) + s.epsilon);
  }
}

// Shapes: grads [T]; partial_norms [kNormBlocks], of which block b writes entry b.
__global__ void __launch_bounds__(kThreads)
    partial_norm_kernel(const __grid_constant__ SegmentTable table, const float* grads, double* partial_norms,
                        bool first) {
  double squares = 0;
  join_stream();
  for (int quad = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x); quad < table.quads;
       quad += kNormBlocks * kThreads) {
    const Span span = locate(table, quad);
    for (int i = 0; i < span.count; ++i) {
      const auto g = static_cast<double>(grads[span.first + i]);
      squares += g * g;
    }
  }
  QUERN_SHARED(warps, double[kThreads / 32]);
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = squares;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = first ? 0 : partial_norms[blockIdx.x];
  for (int w = 0; w < kThreads / 32; ++w) sum += warps[w];
  partial_norms[blockIdx.x] = sum;
}

// min(1, clip_norm / ||g||), the same in every thread. Called by all threads of the block.
__device__ __forceinline__ float clip_factor(const double* partial_norms, float clip_norm) {
  QUERN_SHARED(factor, float[1]);
  if (threadIdx.x < 32) {
    double squares = partial_norms[threadIdx.x] + partial_norms[threadIdx.x + 32];
    squares = warp_sum(squares);
    const double norm = sqrt(squares);
    if (threadIdx.x == 0)
      factor[0] = norm > static_cast<double>(clip_norm)
                      ? static_cast<float>(static_cast<double>(clip_norm) / norm)
                      : 1.0f;
  }
  __syncthreads();
  return factor[0];
}
static_assert(kNormBlocks == 64, "clip_factor reads two partial sums a lane");

// The parameters of one quad.
template <OptimizerKind kind, bool vectorised>
__device__ __forceinline__ void update_quad(const Span& span, const Pointers& at, const Settings& settings,
                                            float clip) {
  constexpr bool kSlot1 = kind != OptimizerKind::sgd;
  constexpr bool kSlot2 = kind == OptimizerKind::adam || kind == OptimizerKind::adamw;
  const float lr = at.step->learning_rate;
  const float corrected_lr = lr * sqrtf(at.step->bias_correction2) / at.step->bias_correction1;
  const float decay = span.decay ? settings.weight_decay : 0.0f;
  const auto step = [&](float g, float& p, float& s1, float& s2) {
    update<kind>(settings, lr, corrected_lr, decay, g * clip, p, s1, s2);
  };

  if (vectorised && span.count == 4) {
    const float4 g = load4(at.grads + span.first);
    float4 p = load4(at.params + span.first);
    float4 s1 = make_float4(0, 0, 0, 0), s2 = s1;
    if constexpr (kSlot1) s1 = load4(at.slot1 + span.first);
    if constexpr (kSlot2) s2 = load4(at.slot2 + span.first);
    step(g.x, p.x, s1.x, s2.x);
    step(g.y, p.y, s1.y, s2.y);
    step(g.z, p.z, s1.z, s2.z);
    step(g.w, p.w, s1.w, s2.w);
    store4(at.params + span.first, p);
    if constexpr (kSlot1) store4(at.slot1 + span.first, s1);
    if constexpr (kSlot2) store4(at.slot2 + span.first, s2);
    return;
  }
  for (std::int64_t i = span.first; i < span.first + span.count; ++i) {
    float p = at.params[i], s1 = 0, s2 = 0;
    if constexpr (kSlot1) s1 = at.slot1[i];
    if constexpr (kSlot2) s2 = at.slot2[i];
    step(at.grads[i], p, s1, s2);
    at.params[i] = p;
    if constexpr (kSlot1) at.slot1[i] = s1;
    if constexpr (kSlot2) at.slot2[i] = s2;
  }
}

// Shapes: grads, params, slot1, slot2 [T].
template <OptimizerKind kind, bool vectorised>
__global__ void __launch_bounds__(kThreads)
    optimizer_kernel(const __grid_constant__ SegmentTable table, const Pointers at, const Settings settings,
                     const AdvanceArgs advance, unsigned* counter) {
  const int quad = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const Span span = locate(table, min(quad, table.quads - 1));
  join_stream();
  const float clip = at.partial_norms != nullptr ? clip_factor(at.partial_norms, settings.clip_norm) : 1.0f;
  const bool skip = at.guard != nullptr && at.guard->skip != 0;
  if (quad < table.quads && !skip) update_quad<kind, vectorised>(span, at, settings, clip);
  advance_step(advance, counter);
}

template <bool vectorised>
auto kernel_of(OptimizerKind kind) {
  switch (kind) {
    case OptimizerKind::sgd:
      return QUERN_KERNEL(optimizer_kernel<OptimizerKind::sgd, vectorised>);
    case OptimizerKind::momentum:
      return QUERN_KERNEL(optimizer_kernel<OptimizerKind::momentum, vectorised>);
    case OptimizerKind::nesterov:
      return QUERN_KERNEL(optimizer_kernel<OptimizerKind::nesterov, vectorised>);
    case OptimizerKind::adam:
      return QUERN_KERNEL(optimizer_kernel<OptimizerKind::adam, vectorised>);
    case OptimizerKind::adamw:
      break;
  }
  return QUERN_KERNEL(optimizer_kernel<OptimizerKind::adamw, vectorised>);
}

// Calls each(table, last) for as many tables as the segments fill: one, up to 128 parameter tensors.
template <class Each>
void for_each_table(const std::vector<ParamSegment>& segments, const Each& each) {
  SegmentTable table;
  for (const ParamSegment& segment : segments) {
    if (table.count == kMaxSegments) {
      each(table, false);
      table = {};
    }
    table.segments[table.count++] = {segment.offset, segment.elements, table.quads, segment.decay ? 1 : 0};
    table.quads += static_cast<int>((segment.elements + 3) / 4);
  }
  each(table, true);
}

}  // namespace

void optimizer_forward(const OptimizerArgs& args, Stream stream) {
  const OptimizerAttrs& attrs = args.attrs;
  const Settings settings{attrs.momentum, attrs.beta1,        attrs.beta2,
                          attrs.epsilon,  attrs.weight_decay, attrs.clip_norm};
  const bool clips = attrs.clip_norm > 0;
  if (clips) {
    bool first = true;
    for_each_table(attrs.segments, [&](const SegmentTable& table, bool) {
      launch_dependent(QUERN_KERNEL(partial_norm_kernel), kNormBlocks, kThreads, 0, stream, table, args.grads,
                       args.partial_norms, first);
      first = false;
    });
  }
  const Pointers pointers{args.step,  args.grads, args.params,
                          args.slot1, args.slot2, clips ? args.partial_norms : nullptr,
                          args.guard};
  const bool vectorised = aligned16(args.grads) && aligned16(args.params) && aligned16(args.slot1) &&
                          aligned16(args.slot2) &&
                          std::all_of(attrs.segments.begin(), attrs.segments.end(),
                                      [](const ParamSegment& segment) { return segment.offset % 4 == 0; });
  for_each_table(attrs.segments, [&](const SegmentTable& table, bool last) {
    const auto grid = static_cast<unsigned>((table.quads + kThreads - 1) / kThreads);
    launch_dependent(vectorised ? kernel_of<true>(attrs.kind) : kernel_of<false>(attrs.kind), grid, kThreads,
                     0, stream, table, pointers, settings, last ? args.advance : AdvanceArgs{},
                     args.counters);
  });
}

}  // namespace quern::kernels::QUERN_TARGET
