// Batch normalisation over rows of channels: statistics, normalisation and backward, with the ReLU on either
// side fused. Pooled forms are in pool.cpp. All passes are bound by memory; a pass touches each operand once.

#include "providers/onednn/isa/table.hpp"
#include "providers/onednn/isa/vec.hpp"

namespace quern::onednn::QUERN_ISA {

void channel_sums(const ChannelSums& a) {
  for_each_group(a.channels, [&](int c, int lanes, auto vecs, auto tail) QUERN_INLINE_LAMBDA {
    constexpr int kVecs = decltype(vecs)::value;
    constexpr bool kTail = decltype(tail)::value;
    Vec shift[kVecs], sum[kVecs], squares[kVecs];
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      shift[v] = a.shift != nullptr ? load(a.shift + c + v * kLanes) : Vec{};
      sum[v] = Vec{};
      squares[v] = Vec{};
    }
    const float* x = a.x + c;
    for (std::int64_t row = 0; row < a.rows; ++row, x += a.channels) {
      QUERN_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        const Vec d = load_lanes<kTail>(x + v * kLanes, lanes) - shift[v];
        sum[v] += d;
        squares[v] += d * d;
      }
    }
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      float* to = a.sum + c + v * kLanes;
      store(to, load(to) + sum[v]);
      if (a.shift == nullptr) continue;
      to = a.sum_squares + c + v * kLanes;
      store(to, load(to) + squares[v]);
    }
  });
}

void normalise(const Normalise& a) {
  for_each_group(a.channels, [&](int c, int lanes, auto vecs, auto tail) QUERN_INLINE_LAMBDA {
    constexpr int kVecs = decltype(vecs)::value;
    constexpr bool kTail = decltype(tail)::value;
    Vec mean[kVecs], scale[kVecs], beta[kVecs];
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      mean[v] = load_lanes<kTail>(a.mean + c + v * kLanes, lanes);
      scale[v] = load_lanes<kTail>(a.scale + c + v * kLanes, lanes);
      beta[v] = load_lanes<kTail>(a.beta + c + v * kLanes, lanes);
    }
    const float* x = a.x + c;
    float* y = a.y + c;
    for (std::int64_t row = 0; row < a.rows; ++row, x += a.channels, y += a.channels) {
      QUERN_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        // Not x * scale + (beta - mean * scale): that cancels when the mean is large.
        Vec value = (load_lanes<kTail>(x + v * kLanes, lanes) - mean[v]) * scale[v] + beta[v];
        if (a.relu) value = rectify(value);
        store_lanes<kTail>(y + v * kLanes, value, lanes);
      }
    }
  });
}

void normalise_reduce(const NormaliseReduce& a) {
  for_each_group(a.channels, [&](int c, int lanes, auto vecs, auto tail) QUERN_INLINE_LAMBDA {
    constexpr int kVecs = decltype(vecs)::value;
    constexpr bool kTail = decltype(tail)::value;
    Vec mean[kVecs], sum[kVecs], sum_x[kVecs];
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      mean[v] = load_lanes<kTail>(a.mean + c + v * kLanes, lanes);
      sum[v] = Vec{};
      sum_x[v] = Vec{};
    }
    std::ptrdiff_t at = c;
    for (std::int64_t row = 0; row < a.rows; ++row, at += a.channels) {
      QUERN_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        Vec g = load_lanes<kTail>(a.dy + at + v * kLanes, lanes);
        if (a.y != nullptr) g = gate_positive(g, load_lanes<kTail>(a.y + at + v * kLanes, lanes));
        sum[v] += g;
        sum_x[v] += g * (load_lanes<kTail>(a.x + at + v * kLanes, lanes) - mean[v]);
      }
    }
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      float* to = a.sum + c + v * kLanes;
      store(to, load(to) + sum[v]);
      to = a.sum_x + c + v * kLanes;
      store(to, load(to) + sum_x[v]);
    }
  });
}

void normalise_backward(const NormaliseBackward& a) {
  for_each_group(a.channels, [&](int c, int lanes, auto vecs, auto tail) QUERN_INLINE_LAMBDA {
    constexpr int kVecs = decltype(vecs)::value;
    constexpr bool kTail = decltype(tail)::value;
    Vec mean[kVecs], scale[kVecs], offset[kVecs], slope[kVecs];
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      mean[v] = load_lanes<kTail>(a.mean + c + v * kLanes, lanes);
      scale[v] = load_lanes<kTail>(a.scale + c + v * kLanes, lanes);
      offset[v] = load_lanes<kTail>(a.offset + c + v * kLanes, lanes);
      slope[v] = load_lanes<kTail>(a.slope + c + v * kLanes, lanes);
    }
    std::ptrdiff_t at = c;
    for (std::int64_t row = 0; row < a.rows; ++row, at += a.channels) {
      QUERN_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        Vec g = load_lanes<kTail>(a.dy + at + v * kLanes, lanes);
        if (a.y != nullptr) g = gate_positive(g, load_lanes<kTail>(a.y + at + v * kLanes, lanes));
        const Vec x = load_lanes<kTail>(a.x + at + v * kLanes, lanes);
        Vec dx = scale[v] * (g - offset[v] - (x - mean[v]) * slope[v]);
        if (a.mask) dx = gate_positive(dx, x);
        store_lanes<kTail>(a.dx + at + v * kLanes, dx, lanes);
      }
    }
  });
}

}  // namespace quern::onednn::QUERN_ISA
