// Transforms of Winograd's F(m x m, 3x3). With channels innermost every transform is vertical arithmetic on
// whole vectors; the n^2 products between them, n = m + 2, are product_rows and outer_rows.
//
// A convolution is a product of polynomials, found from its values at n points (Toom and Cook): 0, pairs +-p
// and, where n is even, infinity. The even and the odd powers of a pair share their sums, and all matrices
// follow from the points (Lavin & Gray 2015; Vincent et al., "On improving the numerical stability of
// Winograd convolutions", 2017: points decide the error).
//
// Version history (conv2 of seed-bn at batch 64, 2 cores; direct convolution 462 MFLOP = 2.0 ms at the
// floor):
//   v1  F(2x2), products 205 MFLOP. Predicted 0.88 ms, transforms 0.15 ms of vector work in cache, so 1.05 ms
//       forward.
//   v2  F(5x5), products 116 MFLOP. Predicted 0.52 ms, transforms 0.1 ms for 0.56 of the elements: 0.65 ms.
//       Measured beside v1 on a Zen 4 server: forward 0.79 ms (v1 1.12), to the data 0.84 (1.17), to the
//       filters 0.84 (1.15). The transforms take 0.2 ms: seven points have twice the arithmetic of four.
//   v3  patches read where the image lies, its margin from a row of zeros, instead of from a padded copy (1.6
//       MB forward, 4 % of a step of `seed` for all three passes), and no branches in a transform, across
//       which the compiler fuses no multiplications. Predicted 0.05 ms less a pass; measured beside v2 on 2
//       cores of a Xeon with AVX-512: forward 0.66 ms (v2 0.71), to the data 0.68 (0.77), to the filters 0.69
//       (0.77).

#include "providers/onednn/isa/table.hpp"
#include "providers/onednn/isa/vec.hpp"
#include "providers/onednn/kernels.hpp"

namespace quern::onednn::QUERN_ISA {

namespace {

// Error of random 3x3 convolutions against double, relative to the result's root mean square, forward and to
// the filters: F(2x2) 2e-7 and 4e-7; F(4x4) 5e-7 and 7e-7 (points 1 and 2, the usual ones: 1.0e-6 and
// 1.4e-6); F(5x5) 1.2e-6 and 1.1e-6 (points 1/2, 1 and 2: 1.8e-6 and 1.9e-6). The points of F(2x2) keep small
// integers exact.
template <int kOutputs>
struct Points;
template <>
struct Points<2> {
  static constexpr int kPairs = 1;
  static constexpr double kPoint[kPairs] = {1};
};
template <>
struct Points<4> {
  static constexpr int kPairs = 2;
  static constexpr double kPoint[kPairs] = {0.75, 1.5};
};
template <>
struct Points<5> {
  static constexpr int kPairs = 3;
  static constexpr double kPoint[kPairs] = {0.625, 1.125, 2.125};
};

/// The one-dimensional transforms. Frequency 0 is the point 0, then come +p and -p of each pair, then
/// infinity.
template <int kOutputs>
struct Transform {
  static constexpr int kPairs = Points<kOutputs>::kPairs;
  static constexpr int kPoints = kOutputs + 2;
  static constexpr bool kInfinity = kPoints % 2 == 0;
  static_assert(kPoints == 1 + 2 * kPairs + (kInfinity ? 1 : 0));

  struct Constants {
    float power[kPairs][kOutputs > 3 ? kOutputs : 3];  ///< p^k
    /// Coefficients in z = x^2, lowest power first, of the product of (z - p^2) over all pairs but one, or
    /// (the last row) over all pairs.
    float product[kPairs + 1][kPairs + 1];
    float pair_weight[kPairs], zero_weight;  ///< 1 / product over the other finite points of (p - other)
  };
  static constexpr Constants make_constants() {
    Constants c{};
    for (int without = kPairs; without >= 0; --without) {
      double product[kPairs + 1] = {1};
      for (int q = 0, degree = 0; q < kPairs; ++q) {
        if (q == without) continue;
        const double root = Points<kOutputs>::kPoint[q] * Points<kOutputs>::kPoint[q];
        ++degree;
        for (int k = degree; k >= 0; --k) product[k] = (k > 0 ? product[k - 1] : 0) - root * product[k];
      }
      for (int k = 0; k <= kPairs; ++k) c.product[without][k] = static_cast<float>(product[k]);
      if (without == kPairs) {
        c.zero_weight = static_cast<float>(1 / product[0]);
        continue;
      }
      const double p = Points<kOutputs>::kPoint[without];
      double power = 1, value = 0;
      for (int k = 0; k < kPairs; ++k, power *= p * p) value += product[k] * power;
      c.pair_weight[without] = static_cast<float>(1 / (2 * p * p * value));
      power = 1;
      for (float& to : c.power[without]) {
        to = static_cast<float>(power);
        power *= p;
      }
    }
    return c;
  }
  static constexpr Constants kConstants = make_constants();

  /// B^T d: row i holds the coefficients of the product of (x - other point).
  static QUERN_INLINE void input(const Vec (&d)[kPoints], Vec (&t)[kPoints]) {
    const auto sum = [&](int without, int terms, int from) QUERN_INLINE_LAMBDA {
      Vec result = d[from + 2 * (terms - 1)];  // the leading coefficient is 1
      QUERN_UNROLL
      for (int k = 0; k < terms - 1; ++k) result += kConstants.product[without][k] * d[from + 2 * k];
      return result;
    };
    t[0] = sum(kPairs, kPairs + 1, 0);
    QUERN_UNROLL
    for (int q = 0; q < kPairs; ++q) {
      const Vec even = sum(q, kPairs, 2), odd = kConstants.power[q][1] * sum(q, kPairs, 1);
      t[1 + 2 * q] = even + odd;
      t[2 + 2 * q] = even - odd;
    }
    if constexpr (kInfinity) t[kPoints - 1] = sum(kPairs, kPairs + 1, 1);
  }

  /// A y: the values at the points of the polynomial with coefficients y.
  static QUERN_INLINE void output_gradient(const Vec (&y)[kOutputs], Vec (&t)[kPoints]) {
    t[0] = y[0];
    QUERN_UNROLL
    for (int q = 0; q < kPairs; ++q) {
      Vec even = y[0], odd = kConstants.power[q][1] * y[1];
      QUERN_UNROLL
      for (int k = 2; k < kOutputs; ++k) (k % 2 == 0 ? even : odd) += kConstants.power[q][k] * y[k];
      t[1 + 2 * q] = even + odd;
      t[2 + 2 * q] = even - odd;
    }
    if constexpr (kInfinity) t[kPoints - 1] = y[kOutputs - 1];
  }

  /// A^T m.
  static QUERN_INLINE void output(const Vec (&m)[kPoints], Vec (&y)[kOutputs]) {
    y[0] = m[0];
    QUERN_UNROLL
    for (int q = 0; q < kPairs; ++q) {
      const Vec even = m[1 + 2 * q] + m[2 + 2 * q], odd = m[1 + 2 * q] - m[2 + 2 * q];
      y[0] += even;
      QUERN_UNROLL
      for (int k = 1; k < kOutputs; ++k) {
        const Vec term = kConstants.power[q][k] * (k % 2 == 0 ? even : odd);
        y[k] = q == 0 ? term : y[k] + term;
      }
    }
    if constexpr (kInfinity) y[kOutputs - 1] += m[kPoints - 1];
  }

  /// G g: the values at the points, divided by what B^T has too much.
  static QUERN_INLINE void filter(const Vec (&g)[3], Vec (&u)[kPoints]) {
    u[0] = kConstants.zero_weight * g[0];
    QUERN_UNROLL
    for (int q = 0; q < kPairs; ++q) {
      const Vec even = g[0] + kConstants.power[q][2] * g[2], odd = kConstants.power[q][1] * g[1];
      u[1 + 2 * q] = kConstants.pair_weight[q] * (even + odd);
      u[2 + 2 * q] = kConstants.pair_weight[q] * (even - odd);
    }
    if constexpr (kInfinity) u[kPoints - 1] = g[2];
  }

  /// G^T u.
  static QUERN_INLINE void filter_gradient(const Vec (&u)[kPoints], Vec (&g)[3]) {
    g[0] = kConstants.zero_weight * u[0];
    g[1] = Vec{};
    if constexpr (kInfinity)
      g[2] = u[kPoints - 1];
    else
      g[2] = Vec{};
    QUERN_UNROLL
    for (int q = 0; q < kPairs; ++q) {
      const Vec even = kConstants.pair_weight[q] * (u[1 + 2 * q] + u[2 + 2 * q]);
      const Vec odd = kConstants.pair_weight[q] * (u[1 + 2 * q] - u[2 + 2 * q]);
      g[0] += even;
      g[1] += kConstants.power[q][1] * odd;
      g[2] += kConstants.power[q][2] * even;
    }
  }
};

/// A transform of two dimensions, columns first: row(r, values) gets the rows of M d M^T below `rows`, where
/// apply(d, t) is t = M d and load_column(s, d) gives a column of d.
template <int kIn, int kOut, class LoadColumn, class Apply, class Row>
QUERN_INLINE void transform_patch(const LoadColumn& load_column, const Apply& apply, const Row& row,
                                  int rows = kOut) {
  Vec columns[kIn][kOut];
  QUERN_UNROLL
  for (int s = 0; s < kIn; ++s) {
    Vec d[kIn];
    load_column(s, d);
    apply(d, columns[s]);
  }
  QUERN_UNROLL
  for (int r = 0; r < kOut; ++r) {
    if (r >= rows) continue;
    Vec d[kIn], t[kOut];
    QUERN_UNROLL
    for (int s = 0; s < kIn; ++s) d[s] = columns[s][r];
    apply(d, t);
    row(r, t);
  }
}

/// The same with all rows to memory, `step` floats between elements.
template <int kIn, int kOut, class LoadColumn, class Apply>
QUERN_INLINE void store_patch(float* out, std::ptrdiff_t step, const LoadColumn& load_column,
                              const Apply& apply) {
  transform_patch<kIn, kOut>(load_column, apply, [&](int r, const Vec(&t)[kOut]) QUERN_INLINE_LAMBDA {
    QUERN_UNROLL
    for (int s = 0; s < kOut; ++s) store(out + (kOut * r + s) * step, t[s]);
  });
}

/// The patches of all tiles, kIn x kIn each, through apply(d, t) to `out`.
template <int kOutputs, int kIn, class Apply>
QUERN_INLINE void scatter(const WinogradScatter& a, const Apply& apply) {
  constexpr int n = kOutputs + 2;
  for (int i = 0; i < a.tile_rows; ++i) {
    const int top = a.top + kOutputs * i;
    for (int j = 0; j < a.tile_cols; ++j) {
      const int left = a.left + kOutputs * j;
      const float* line[kIn];  // the patch's rows: those outside the image are zeros
      QUERN_UNROLL
      for (int r = 0; r < kIn; ++r) {
        const int row = top + r;
        line[r] = row < 0 || row >= a.rows ? a.zeros : a.image + (row * a.row + left * a.pixel);
      }
      float* out = a.out + (std::ptrdiff_t{i} * a.tile_cols + j) * a.tile;
      for_each_vector(a.channels, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
        const auto load_column = [&](int s, Vec(&d)[kIn]) QUERN_INLINE_LAMBDA {
          const std::ptrdiff_t at = s * a.pixel + c;
          if (left + s < 0 || left + s >= a.cols) {
            QUERN_UNROLL
            for (int r = 0; r < kIn; ++r) d[r] = Vec{};
          } else {
            QUERN_UNROLL
            for (int r = 0; r < kIn; ++r) d[r] = load_lanes<decltype(tail)::value>(line[r] + at, lanes);
          }
          QUERN_UNROLL
          for (int r = 0; r < kIn; ++r) d[r] = whichever(d[r]);
        };
        store_patch<kIn, n>(out + c, a.frequency, load_column, apply);
      });
    }
  }
}

template <int kOutputs>
void transform_input(const WinogradScatter& a) {
  scatter<kOutputs, kOutputs + 2>(
      a, [](const auto& d, auto& t) QUERN_INLINE_LAMBDA { Transform<kOutputs>::input(d, t); });
}

template <int kOutputs>
void transform_output_gradient(const WinogradScatter& a) {
  scatter<kOutputs, kOutputs>(
      a, [](const auto& d, auto& t) QUERN_INLINE_LAMBDA { Transform<kOutputs>::output_gradient(d, t); });
}

template <int kOutputs>
void transform_output(const WinogradGather& a) {
  using T = Transform<kOutputs>;
  constexpr int n = T::kPoints;
  const Epilogue& e = a.epilogue;
  for (int i = 0; i < a.tile_rows; ++i) {
    for (int j = 0; j < a.tile_cols; ++j) {
      const float* tile = a.in + (std::ptrdiff_t{i} * a.tile_cols + j) * a.tile;
      const int rows = a.rows - kOutputs * i, cols = a.cols - kOutputs * j;  // of the image, from here on
      for_each_vector(a.channels, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
        constexpr bool kTail = decltype(tail)::value;
        const Vec bias = e.bias != nullptr ? load_lanes<kTail>(e.bias + c, lanes) : Vec{};
        Vec shift{}, sum{}, squares{};
        if (e.sum != nullptr) {
          shift = load(e.shift + c);
          sum = load(e.sum + c);
          squares = load(e.sum_squares + c);
        }
        const auto finish_row = [&](int r, const Vec(&y)[kOutputs]) QUERN_INLINE_LAMBDA {
          const std::ptrdiff_t at = (kOutputs * i + r) * a.row + kOutputs * j * a.pixel + c;
          QUERN_UNROLL
          for (int s = 0; s < kOutputs; ++s) {
            if (s >= cols) continue;
            const std::ptrdiff_t to = at + s * a.pixel;
            Vec value = y[s] + bias;
            if (e.relu) value = rectify(value);
            if (e.mask != nullptr) value = gate_positive(value, load_lanes<kTail>(e.mask + to, lanes));
            if (e.sum != nullptr) {
              const Vec d = value - shift;
              sum += d;
              squares += d * d;
            }
            store_lanes<kTail>(a.out + to, value, lanes);
          }
        };
        transform_patch<n, kOutputs>(
            [&](int s, Vec(&d)[n]) QUERN_INLINE_LAMBDA {
              QUERN_UNROLL
              for (int r = 0; r < n; ++r) d[r] = load(tile + (n * r + s) * a.frequency + c);
            },
            [](const auto& d, auto& t) QUERN_INLINE_LAMBDA { T::output(d, t); }, finish_row, rows);
        if (e.sum != nullptr) {
          store(e.sum + c, sum);
          store(e.sum_squares + c, squares);
        }
      });
    }
  }
}

template <int kOutputs>
void transform_filters(const WinogradFilters& a) {
  using T = Transform<kOutputs>;
  for (std::ptrdiff_t e = a.begin; e < a.end; e += kLanes)
    store_patch<3, T::kPoints>(
        a.out + e, a.out_step,
        [&](int s, Vec(&d)[3]) QUERN_INLINE_LAMBDA {
          QUERN_UNROLL
          for (int r = 0; r < 3; ++r) d[r] = load(a.in + (3 * r + s) * a.in_step + e);
        },
        [](const auto& d, auto& t) QUERN_INLINE_LAMBDA { T::filter(d, t); });
}

template <int kOutputs>
void transform_filter_gradient(const WinogradFilters& a) {
  using T = Transform<kOutputs>;
  for (std::ptrdiff_t e = a.begin; e < a.end; e += kLanes)
    store_patch<T::kPoints, 3>(
        a.out + e, a.out_step,
        [&](int s, Vec(&d)[T::kPoints]) QUERN_INLINE_LAMBDA {
          QUERN_UNROLL
          for (int r = 0; r < T::kPoints; ++r) {
            const float* from = a.in + (T::kPoints * r + s) * a.in_step + e;
            d[r] = load(from);
            for (int part = 1; part < a.parts; ++part) d[r] += load(from + part * a.part);
          }
        },
        [](const auto& d, auto& t) QUERN_INLINE_LAMBDA { T::filter_gradient(d, t); });
}

template <int kOutputs>
constexpr WinogradTransforms transforms() {
  return {transform_input<kOutputs>, transform_output_gradient<kOutputs>, transform_output<kOutputs>,
          transform_filters<kOutputs>, transform_filter_gradient<kOutputs>};
}

}  // namespace

constinit const WinogradTransforms kWinograd2x2 = transforms<2>(), kWinograd4x4 = transforms<4>(),
                                   kWinograd5x5 = transforms<5>();

}  // namespace quern::onednn::QUERN_ISA
