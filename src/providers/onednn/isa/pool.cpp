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
void max_pool_rows(const MaxPool& args) {
  const MaxPool a = args;  // a copy that no store can change
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
              // Not "greater": a NaN wins, and once it has won it stays.
              const auto wins = ~(value <= best[v]) & (best[v] == best[v]);
              best[v] = wins ? value : best[v];
              index[v] = wins ? here : index[v];
            }
          }
        }
        const std::ptrdiff_t at = (std::ptrdiff_t{p} * g.q + q) * channels + c;
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          store_lanes<kTail>(a.y + at + v * kLanes, best[v], lanes);
          if (a.argmax != nullptr) store_byte_lanes<kTail>(a.argmax + at + v * kLanes, index[v], lanes);
        }
      }
    }
  });
}

/// Where the gradient of a max-pooled output comes from.
struct PooledGradient {
  const float* dy;
  const float* y;  // gate, or null
  const uint8_t* argmax;
};

/// dy of one output pixel where its gate is open, and which element of its window it goes to.
template <int kVecs, bool kTail>
QUERN_INLINE void load_pooled(const PooledGradient& from, std::ptrdiff_t at, int lanes,
                              Vec (&gradient)[kVecs], IntVec (&chosen)[kVecs]) {
  QUERN_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    chosen[v] = load_byte_lanes<kTail>(from.argmax + at + v * kLanes, lanes);
    gradient[v] = load_lanes<kTail>(from.dy + at + v * kLanes, lanes);
    if (from.y != nullptr)
      gradient[v] = gate_positive(gradient[v], load_lanes<kTail>(from.y + at + v * kLanes, lanes));
  }
}

/// Calls emit(w, gradient) for the elements of input row h in order: the sum over the windows that cover an
/// element and chose it. `c` is the first of the channels looked at.
template <int kVecs, bool kTail, class Emit>
QUERN_INLINE void for_row_gradients(const Pooling& g, const PooledGradient& from, int h, int c, int lanes,
                                    const Emit& emit) {
  Vec gradient[kVecs], routed[kVecs];
  IntVec chosen[kVecs];
  const auto clear = [&]() QUERN_INLINE_LAMBDA {
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) routed[v] = Vec{};
  };
  const int p_begin = g.p_begin[h], p_end = g.p_end[h];
  int w = 0;
  if (g.stride_h >= g.r && g.stride_w >= g.s) {
    // No two windows overlap: walk along the windows, each loaded once.
    const int r = h + g.pad_top - p_begin * g.stride_h;
    for (int q = 0; p_begin < p_end && q < g.q; ++q) {
      const int start = q * g.stride_w - g.pad_left;
      clear();
      for (; w < start; ++w) emit(w, routed);
      const int end = start + g.s < g.w ? start + g.s : g.w;
      load_pooled<kVecs, kTail>(from, (std::ptrdiff_t{p_begin} * g.q + q) * g.channels + c, lanes, gradient,
                                chosen);
      for (; w < end; ++w) {
        const IntVec here = splat_int(r * g.s + w - start);
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) routed[v] = chosen[v] == here ? gradient[v] : Vec{};
        emit(w, routed);
      }
    }
    clear();
    for (; w < g.w; ++w) emit(w, routed);
    return;
  }
  for (; w < g.w; ++w) {
    clear();
    for (int p = p_begin; p < p_end; ++p) {
      for (int q = g.q_begin[w]; q < g.q_end[w]; ++q) {
        const IntVec here =
            splat_int((h + g.pad_top - p * g.stride_h) * g.s + w + g.pad_left - q * g.stride_w);
        load_pooled<kVecs, kTail>(from, (std::ptrdiff_t{p} * g.q + q) * g.channels + c, lanes, gradient,
                                  chosen);
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) routed[v] += chosen[v] == here ? gradient[v] : Vec{};
      }
    }
    emit(w, routed);
  }
}

}  // namespace

void max_pool(const MaxPool& a) {
  a.mean != nullptr ? max_pool_rows<true>(a) : max_pool_rows<false>(a);
}

void max_pool_backward(const MaxPoolBackward& a) {
  const Pooling g = a.pooling;
  const PooledGradient from{a.dy, a.y, a.argmax};
  for_each_group(g.channels, [&](int c, int lanes, auto vecs, auto tail) QUERN_INLINE_LAMBDA {
    constexpr int kVecs = decltype(vecs)::value;
    constexpr bool kTail = decltype(tail)::value;
    for (int h = a.begin; h < a.end; ++h) {
      float* row = a.dx + std::ptrdiff_t{h} * g.w * g.channels + c;
      for_row_gradients<kVecs, kTail>(g, from, h, c, lanes,
                                      [&](int w, const Vec(&gradient)[kVecs]) QUERN_INLINE_LAMBDA {
                                        float* dx = row + std::ptrdiff_t{w} * g.channels;
                                        QUERN_UNROLL
                                        for (int v = 0; v < kVecs; ++v)
                                          store_lanes<kTail>(dx + v * kLanes, gradient[v], lanes);
                                      });
    }
  });
}

void normalise_pool_reduce(const NormalisePoolReduce& a) {
  const Pooling g = a.pooling;
  const std::ptrdiff_t channels = g.channels;
  const PooledGradient from{a.dy, a.y, a.argmax};
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
        Vec gradient[kVecs], x_chosen[kVecs];
        IntVec chosen[kVecs];
        load_pooled<kVecs, kTail>(from, (std::ptrdiff_t{p} * g.q + q) * channels + c, lanes, gradient,
                                  chosen);
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) x_chosen[v] = mean[v];
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
          sum[v] += gradient[v];
          sum_x[v] += gradient[v] * (x_chosen[v] - mean[v]);
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
  const Pooling g = a.pooling;
  const NormaliseBackward n = a.normalise;
  const PooledGradient from{n.dy, n.y, a.argmax};
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
      const std::ptrdiff_t row = std::ptrdiff_t{h} * g.w * g.channels + c;
      for_row_gradients<kVecs, kTail>(
          g, from, h, c, lanes, [&](int w, const Vec(&gradient)[kVecs]) QUERN_INLINE_LAMBDA {
            const std::ptrdiff_t at = row + std::ptrdiff_t{w} * g.channels;
            QUERN_UNROLL
            for (int v = 0; v < kVecs; ++v) {
              const Vec x = load_lanes<kTail>(n.x + at + v * kLanes, lanes);
              Vec dx = scale[v] * (gradient[v] - offset[v] - (x - mean[v]) * slope[v]);
              if (n.mask) dx = gate_positive(dx, x);
              store_lanes<kTail>(n.dx + at + v * kLanes, dx, lanes);
            }
          });
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
