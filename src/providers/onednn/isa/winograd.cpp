// Transforms of Winograd's F(2x2, 3x3). With channels innermost every transform is vertical arithmetic on
// whole vectors; the 16 products between them are product_rows and outer_rows.
//
// Version history (conv2 of seed-bn at batch 64, 2 cores; direct convolution 462 MFLOP = 2.0 ms at the
// floor):
//   v1  predicted: products 205 MFLOP = 0.88 ms, transforms 0.15 ms of vector work in cache, so 1.05 ms
//   forward.

#include "providers/onednn/isa/table.hpp"
#include "providers/onednn/isa/vec.hpp"
#include "providers/onednn/kernels.hpp"

namespace quern::onednn::QUERN_ISA {

void winograd_input(const WinogradScatter& a) {
  for (int i = 0; i < a.tile_rows; ++i) {
    for (int j = 0; j < a.tile_cols; ++j) {
      const float* patch = a.image + 2 * i * a.row + 2 * j * a.pixel;
      float* out = a.out + (std::ptrdiff_t{i} * a.tile_cols + j) * a.tile;
      for_each_vector(a.channels, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
        Vec t[4][4];
        QUERN_UNROLL
        for (int s = 0; s < 4; ++s) {
          Vec d[4];
          QUERN_UNROLL
          for (int r = 0; r < 4; ++r)
            d[r] = load_lanes<decltype(tail)::value>(patch + r * a.row + s * a.pixel + c, lanes);
          t[0][s] = d[0] - d[2];
          t[1][s] = d[1] + d[2];
          t[2][s] = d[2] - d[1];
          t[3][s] = d[1] - d[3];
        }
        float* to = out + c;
        QUERN_UNROLL
        for (int r = 0; r < 4; ++r) {
          store(to, t[r][0] - t[r][2]);
          store(to + a.frequency, t[r][1] + t[r][2]);
          store(to + 2 * a.frequency, t[r][2] - t[r][1]);
          store(to + 3 * a.frequency, t[r][1] - t[r][3]);
          to += 4 * a.frequency;
        }
      });
    }
  }
}

void winograd_output_gradient(const WinogradScatter& a) {
  for (int i = 0; i < a.tile_rows; ++i) {
    for (int j = 0; j < a.tile_cols; ++j) {
      const float* patch = a.image + 2 * i * a.row + 2 * j * a.pixel;
      const bool below = 2 * i + 1 < a.rows, right = 2 * j + 1 < a.cols;
      float* out = a.out + (std::ptrdiff_t{i} * a.tile_cols + j) * a.tile;
      for_each_vector(a.channels, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
        constexpr bool kTail = decltype(tail)::value;
        const float* from = patch + c;
        const Vec d00 = load_lanes<kTail>(from, lanes);
        const Vec d01 = right ? load_lanes<kTail>(from + a.pixel, lanes) : Vec{};
        const Vec d10 = below ? load_lanes<kTail>(from + a.row, lanes) : Vec{};
        const Vec d11 = below && right ? load_lanes<kTail>(from + a.row + a.pixel, lanes) : Vec{};
        const Vec t[4][2] = {{d00, d01}, {d00 + d10, d01 + d11}, {d00 - d10, d01 - d11}, {-d10, -d11}};
        float* to = out + c;
        QUERN_UNROLL
        for (int r = 0; r < 4; ++r) {
          store(to, t[r][0]);
          store(to + a.frequency, t[r][0] + t[r][1]);
          store(to + 2 * a.frequency, t[r][0] - t[r][1]);
          store(to + 3 * a.frequency, -t[r][1]);
          to += 4 * a.frequency;
        }
      });
    }
  }
}

void winograd_output(const WinogradGather& a) {
  const Epilogue& e = a.epilogue;
  for (int i = 0; i < a.tile_rows; ++i) {
    for (int j = 0; j < a.tile_cols; ++j) {
      const float* tile = a.in + (std::ptrdiff_t{i} * a.tile_cols + j) * a.tile;
      const int valid_rows = a.rows - 2 * i < 2 ? 1 : 2, valid_cols = a.cols - 2 * j < 2 ? 1 : 2;
      for_each_vector(a.channels, [&](int c, int lanes, auto tail) QUERN_INLINE_LAMBDA {
        constexpr bool kTail = decltype(tail)::value;
        Vec t[2][4];
        QUERN_UNROLL
        for (int s = 0; s < 4; ++s) {
          const float* column = tile + s * a.frequency + c;
          const Vec m0 = load(column), m1 = load(column + 4 * a.frequency);
          const Vec m2 = load(column + 8 * a.frequency), m3 = load(column + 12 * a.frequency);
          t[0][s] = m0 + m1 + m2;
          t[1][s] = m1 - m2 - m3;
        }
        const Vec bias = e.bias != nullptr ? load_lanes<kTail>(e.bias + c, lanes) : Vec{};
        Vec shift{}, sum{}, squares{};
        if (e.sum != nullptr) {
          shift = load(e.shift + c);
          sum = load(e.sum + c);
          squares = load(e.sum_squares + c);
        }
        const std::ptrdiff_t at = 2 * i * a.row + 2 * j * a.pixel + c;
        QUERN_UNROLL
        for (int r = 0; r < 2; ++r) {
          if (r >= valid_rows) continue;
          const Vec y[2] = {t[r][0] + t[r][1] + t[r][2] + bias, t[r][1] - t[r][2] - t[r][3] + bias};
          QUERN_UNROLL
          for (int s = 0; s < 2; ++s) {
            if (s >= valid_cols) continue;
            const std::ptrdiff_t to = at + r * a.row + s * a.pixel;
            Vec value = y[s];
            if (e.relu) value = rectify(value);
            if (e.mask != nullptr) value = gate_positive(value, load_lanes<kTail>(e.mask + to, lanes));
            if (e.sum != nullptr) {
              const Vec d = value - shift;
              sum += d;
              squares += d * d;
            }
            store_lanes<kTail>(a.out + to, value, lanes);
          }
        }
        if (e.sum != nullptr) {
          store(e.sum + c, sum);
          store(e.sum_squares + c, squares);
        }
      });
    }
  }
}

void winograd_filters(const WinogradFilters& a) {
  for (std::ptrdiff_t e = a.begin; e < a.end; e += kLanes) {
    Vec t[4][3];
    QUERN_UNROLL
    for (int s = 0; s < 3; ++s) {
      const float* column = a.in + s * a.in_step + e;
      const Vec g0 = load(column), g1 = load(column + 3 * a.in_step), g2 = load(column + 6 * a.in_step);
      t[0][s] = g0;
      t[1][s] = 0.5f * (g0 + g1 + g2);
      t[2][s] = 0.5f * (g0 - g1 + g2);
      t[3][s] = g2;
    }
    float* to = a.out + e;
    QUERN_UNROLL
    for (int r = 0; r < 4; ++r) {
      store(to, t[r][0]);
      store(to + a.out_step, 0.5f * (t[r][0] + t[r][1] + t[r][2]));
      store(to + 2 * a.out_step, 0.5f * (t[r][0] - t[r][1] + t[r][2]));
      store(to + 3 * a.out_step, t[r][2]);
      to += 4 * a.out_step;
    }
  }
}

void winograd_filter_gradient(const WinogradFilters& a) {
  for (std::ptrdiff_t e = a.begin; e < a.end; e += kLanes) {
    Vec t[3][4];
    QUERN_UNROLL
    for (int s = 0; s < 4; ++s) {
      Vec u[4];
      QUERN_UNROLL
      for (int r = 0; r < 4; ++r) {
        const float* from = a.in + (4 * r + s) * a.in_step + e;
        u[r] = load(from);
        for (int part = 1; part < a.parts; ++part) u[r] += load(from + part * a.part);
      }
      t[0][s] = u[0] + 0.5f * (u[1] + u[2]);
      t[1][s] = 0.5f * (u[1] - u[2]);
      t[2][s] = 0.5f * (u[1] + u[2]) + u[3];
    }
    float* to = a.out + e;
    QUERN_UNROLL
    for (int r = 0; r < 3; ++r) {
      store(to, t[r][0] + 0.5f * (t[r][1] + t[r][2]));
      store(to + a.out_step, 0.5f * (t[r][1] - t[r][2]));
      store(to + 2 * a.out_step, 0.5f * (t[r][1] + t[r][2]) + t[r][3]);
      to += 3 * a.out_step;
    }
  }
}

}  // namespace quern::onednn::QUERN_ISA
