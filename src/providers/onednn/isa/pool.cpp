// Pooling over one image, channels innermost, with batch normalisation fused on request. Gradients are
// gathered (each input element sums the windows that cover it), so no two threads ever write the same element
// and the order of the sum is fixed.

#include "providers/onednn/isa/table.hpp"
#include "providers/onednn/isa/vec.hpp"

namespace quern::onednn::QUERN_ISA {

namespace {

struct Span {
  int begin, end;
};

/// Elements of the window at output index `o` that lie inside the image.
QUERN_INLINE Span window_span(int o, int stride, int pad, int size, int extent) {
  const int origin = o * stride - pad;
  return {origin < 0 ? -origin : 0, origin + size > extent ? extent - origin : size};
}

template <bool kNormalise>
void max_pool_rows(const MaxPool& a) {
  const Pooling& g = a.pooling;
  const std::ptrdiff_t channels = g.channels;
  for_each_group(g.channels, [&](int c, int lanes, auto vecs, auto tail) QUERN_INLINE_LAMBDA {
    constexpr int kVecs = decltype(vecs)::value;
    constexpr bool kTail = decltype(tail)::value;
    Vec mean[kVecs], scale[kVecs], beta[kVecs];
    if constexpr (kNormalise) {
      QUERN_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        mean[v] = load_lanes<kTail>(a.mean + c + v * kLanes, lanes);
        scale[v] = load_lanes<kTail>(a.scale + c + v * kLanes, lanes);
        beta[v] = load_lanes<kTail>(a.beta + c + v * kLanes, lanes);
      }
    }
    for (int p = a.begin; p < a.end; ++p) {
      const Span rows = window_span(p, g.stride_h, g.pad_top, g.r, g.h);
      for (int q = 0; q < g.q; ++q) {
        const Span cols = window_span(q, g.stride_w, g.pad_left, g.s, g.w);
        Vec best[kVecs];
        IntVec index[kVecs];
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          best[v] = splat(-__builtin_inff());
          index[v] = splat_int(rows.begin * g.s + cols.begin);
        }
        for (int r = rows.begin; r < rows.end; ++r) {
          const std::ptrdiff_t h = p * g.stride_h - g.pad_top + r, w = q * g.stride_w - g.pad_left;
          const float* x = a.x + (h * g.w + w) * channels + c;
          for (int s = cols.begin; s < cols.end; ++s) {
            const IntVec here = splat_int(r * g.s + s);
            QUERN_UNROLL
            for (int v = 0; v < kVecs; ++v) {
              Vec value = load_lanes<kTail>(x + s * channels + v * kLanes, lanes);
              if constexpr (kNormalise) {
                value = (value - mean[v]) * scale[v] + beta[v];
                if (a.relu) value = rectify(value);
              }
              // A NaN wins, and once it has won it stays.
              const auto wins = (value > best[v]) | ((value != value) & (best[v] == best[v]));
              best[v] = wins ? value : best[v];
              index[v] = wins ? here : index[v];
            }
          }
        }
        const std::ptrdiff_t at = (std::ptrdiff_t{p} * g.q + q) * channels + c;
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          store_lanes<kTail>(a.y + at + v * kLanes, best[v], lanes);
          if (a.argmax != nullptr)
            store_byte_lanes<kTail>(a.argmax + at + v * kLanes, __builtin_convertvector(index[v], ByteVec),
                                    lanes);
        }
      }
    }
  });
}

/// The gradient that reaches input element (h, w): from each window that covers it and chose it.
template <int kVecs, bool kTail>
QUERN_INLINE void gather_gradient(const Pooling& g, int h, int w, const float* dy, const float* y,
                                  const uint8_t* argmax, int c, int lanes, Vec (&sum)[kVecs]) {
  QUERN_UNROLL
  for (int v = 0; v < kVecs; ++v) sum[v] = Vec{};
  for (int p = g.p_begin[h]; p < g.p_end[h]; ++p) {
    const int r = h + g.pad_top - p * g.stride_h;
    for (int q = g.q_begin[w]; q < g.q_end[w]; ++q) {
      const int s = w + g.pad_left - q * g.stride_w;
      const IntVec here = splat_int(r * g.s + s);
      const std::ptrdiff_t at = (std::ptrdiff_t{p} * g.q + q) * g.channels + c;
      QUERN_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        const IntVec chosen =
            __builtin_convertvector(load_byte_lanes<kTail>(argmax + at + v * kLanes, lanes), IntVec);
        Vec gradient = load_lanes<kTail>(dy + at + v * kLanes, lanes);
        if (y != nullptr) gradient = gate_positive(gradient, load_lanes<kTail>(y + at + v * kLanes, lanes));
        sum[v] += chosen == here ? gradient : Vec{};
      }
    }
  }
}

}  // namespace

void max_pool(const MaxPool& a) {
  a.mean != nullptr ? max_pool_rows<true>(a) : max_pool_rows<false>(a);
}

void max_pool_backward(const MaxPoolBackward& a) {
  const Pooling& g = a.pooling;
  for_each_group(g.channels, [&](int c, int lanes, auto vecs, auto tail) QUERN_INLINE_LAMBDA {
    constexpr int kVecs = decltype(vecs)::value;
    constexpr bool kTail = decltype(tail)::value;
    for (int h = a.begin; h < a.end; ++h) {
      for (int w = 0; w < g.w; ++w) {
        Vec sum[kVecs];
        gather_gradient<kVecs, kTail>(g, h, w, a.dy, a.y, a.argmax, c, lanes, sum);
        float* dx = a.dx + (std::ptrdiff_t{h} * g.w + w) * g.channels + c;
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) store_lanes<kTail>(dx + v * kLanes, sum[v], lanes);
      }
    }
  });
}

void normalise_pool_reduce(const NormalisePoolReduce& a) {
  const Pooling& g = a.pooling;
  const std::ptrdiff_t channels = g.channels;
  for_each_group(g.channels, [&](int c, int lanes, auto vecs, auto tail) QUERN_INLINE_LAMBDA {
    constexpr int kVecs = decltype(vecs)::value;
    constexpr bool kTail = decltype(tail)::value;
    Vec mean[kVecs], sum[kVecs], sum_x[kVecs];
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      mean[v] = load_lanes<kTail>(a.mean + c + v * kLanes, lanes);
      sum[v] = Vec{};
      sum_x[v] = Vec{};
    }
    for (int p = a.begin; p < a.end; ++p) {
      const Span rows = window_span(p, g.stride_h, g.pad_top, g.r, g.h);
      for (int q = 0; q < g.q; ++q) {
        const Span cols = window_span(q, g.stride_w, g.pad_left, g.s, g.w);
        const std::ptrdiff_t at = (std::ptrdiff_t{p} * g.q + q) * channels + c;
        IntVec chosen[kVecs];
        Vec x_chosen[kVecs];
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          chosen[v] =
              __builtin_convertvector(load_byte_lanes<kTail>(a.argmax + at + v * kLanes, lanes), IntVec);
          x_chosen[v] = mean[v];
        }
        for (int r = rows.begin; r < rows.end; ++r) {
          const std::ptrdiff_t h = p * g.stride_h - g.pad_top + r, w = q * g.stride_w - g.pad_left;
          const float* x = a.x + (h * g.w + w) * channels + c;
          for (int s = cols.begin; s < cols.end; ++s) {
            const IntVec here = splat_int(r * g.s + s);
            QUERN_UNROLL
            for (int v = 0; v < kVecs; ++v) {
              const Vec value = load_lanes<kTail>(x + s * channels + v * kLanes, lanes);
              x_chosen[v] = chosen[v] == here ? value : x_chosen[v];
            }
          }
        }
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          Vec gradient = load_lanes<kTail>(a.dy + at + v * kLanes, lanes);
          if (a.y != nullptr)
            gradient = gate_positive(gradient, load_lanes<kTail>(a.y + at + v * kLanes, lanes));
          sum[v] += gradient;
          sum_x[v] += gradient * (x_chosen[v] - mean[v]);
        }
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

void normalise_pool_backward(const NormalisePoolBackward& a) {
  const Pooling& g = a.pooling;
  const NormaliseBackward& n = a.normalise;
  for_each_group(g.channels, [&](int c, int lanes, auto vecs, auto tail) QUERN_INLINE_LAMBDA {
    constexpr int kVecs = decltype(vecs)::value;
    constexpr bool kTail = decltype(tail)::value;
    Vec mean[kVecs], scale[kVecs], offset[kVecs], slope[kVecs];
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      mean[v] = load_lanes<kTail>(n.mean + c + v * kLanes, lanes);
      scale[v] = load_lanes<kTail>(n.scale + c + v * kLanes, lanes);
      offset[v] = load_lanes<kTail>(n.offset + c + v * kLanes, lanes);
      slope[v] = load_lanes<kTail>(n.slope + c + v * kLanes, lanes);
    }
    for (int h = a.begin; h < a.end; ++h) {
      for (int w = 0; w < g.w; ++w) {
        Vec gradient[kVecs];
        gather_gradient<kVecs, kTail>(g, h, w, n.dy, n.y, a.argmax, c, lanes, gradient);
        const std::ptrdiff_t at = (std::ptrdiff_t{h} * g.w + w) * g.channels + c;
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          const Vec x = load_lanes<kTail>(n.x + at + v * kLanes, lanes);
          Vec dx = scale[v] * (gradient[v] - offset[v] - (x - mean[v]) * slope[v]);
          if (n.mask) dx = gate_positive(dx, x);
          store_lanes<kTail>(n.dx + at + v * kLanes, dx, lanes);
        }
      }
    }
  });
}

void average_pool(const AveragePool& a) {
  const Pooling& g = a.pooling;
  const std::ptrdiff_t channels = g.channels;
  for (int p = a.begin; p < a.end; ++p) {
    const Span rows = window_span(p, g.stride_h, g.pad_top, g.r, g.h);
    for (int q = 0; q < g.q; ++q) {
      const Span cols = window_span(q, g.stride_w, g.pad_left, g.s, g.w);
      const int count = a.include_pad ? g.r * g.s : (rows.end - rows.begin) * (cols.end - cols.begin);
      const Vec divisor = splat(static_cast<float>(count));
      const std::ptrdiff_t h0 = p * g.stride_h - g.pad_top, w0 = q * g.stride_w - g.pad_left;
      float* y = a.y + (std::ptrdiff_t{p} * g.q + q) * channels;
      for_each_vector(g.channels, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
        constexpr bool kTail = decltype(tail)::value;
        Vec sum{};
        for (int r = rows.begin; r < rows.end; ++r)
          for (int s = cols.begin; s < cols.end; ++s)
            sum += load_lanes<kTail>(a.x + ((h0 + r) * g.w + w0 + s) * channels + c, lanes);
        store_lanes<kTail>(y + c, sum / divisor, lanes);
      });
    }
  }
}

void average_pool_backward(const AveragePoolBackward& a) {
  const Pooling& g = a.pooling;
  const std::ptrdiff_t channels = g.channels;
  for (int h = a.begin; h < a.end; ++h) {
    for (int w = 0; w < g.w; ++w) {
      const std::ptrdiff_t at = (std::ptrdiff_t{h} * g.w + w) * channels;
      for_each_vector(g.channels, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
        constexpr bool kTail = decltype(tail)::value;
        Vec sum{};
        for (int p = g.p_begin[h]; p < g.p_end[h]; ++p) {
          const Span rows = window_span(p, g.stride_h, g.pad_top, g.r, g.h);
          for (int q = g.q_begin[w]; q < g.q_end[w]; ++q) {
            const Span cols = window_span(q, g.stride_w, g.pad_left, g.s, g.w);
            const int count = a.include_pad ? g.r * g.s : (rows.end - rows.begin) * (cols.end - cols.begin);
            sum += load_lanes<kTail>(a.dy + (std::ptrdiff_t{p} * g.q + q) * channels + c, lanes) /
                   splat(static_cast<float>(count));
          }
        }
        if (a.mask != nullptr) sum = gate_positive(sum, load_lanes<kTail>(a.mask + at + c, lanes));
        store_lanes<kTail>(a.dx + at + c, sum, lanes);
      });
    }
  }
}

void global_pool(const GlobalPool& a) {
  const Vec divisor = splat(static_cast<float>(a.rows));
  for_each_vector(a.channels, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
    constexpr bool kTail = decltype(tail)::value;
    // Partial sums of 64 rows keep the rounding error of large images small.
    Vec total{};
    for (std::int64_t row = 0; row < a.rows;) {
      Vec sum{};
      for (const std::int64_t end = row + 64 < a.rows ? row + 64 : a.rows; row < end; ++row)
        sum += load_lanes<kTail>(a.in + row * a.channels + c, lanes);
      total += sum;
    }
    store_lanes<kTail>(a.out + c, total / divisor, lanes);
  });
}

void global_pool_backward(const GlobalPool& a) {
  const Vec divisor = splat(static_cast<float>(a.rows));
  for_each_vector(a.channels, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
    constexpr bool kTail = decltype(tail)::value;
    const Vec gradient = load_lanes<kTail>(a.in + c, lanes) / divisor;
    for (std::int64_t row = 0; row < a.rows; ++row) {
      const std::ptrdiff_t at = row * a.channels + c;
      store_lanes<kTail>(
          a.out + at,
          a.mask != nullptr ? gate_positive(gradient, load_lanes<kTail>(a.mask + at, lanes)) : gradient,
          lanes);
    }
  });
}

}  // namespace quern::onednn::QUERN_ISA
