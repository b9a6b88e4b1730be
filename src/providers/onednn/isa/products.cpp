// Register-blocked products: the inner loops of every convolution and dense layer.
//
// Version history (seed-bn's shapes, batch 64, one core of a Zen 4 server at about 3.7 GHz, whose floor is
// 32 FLOP a cycle = 118 GFLOP/s):
//   v1  tiles of P pixels x V vectors of output channels, one broadcast and V loads of weights per tap, taps
//       by an offset table. Predicted 90 % of the floor; measured 115-117 GFLOP/s from 288 taps on (98 %),
//       but 97 at 32 taps: the compiler kept a dead copy of the accumulators on the stack.
//   v2  loops over accumulators unrolled by pragma, so that the copy goes: 112 GFLOP/s at 32 taps.
//
// dot_rows (seed's first dense layer, 32 x 3136 by 128 x 3136 a core; one core of a Xeon with AVX-512, 218
// GFLOP/s without loads, 186 with ten loads for 24 FMAs; floor 0.12 ms, 0.15 with the loads):
//   v1  tiles of 6 x 4 along the whole of C. In a step of `seed` 0.32 ms: both operands come from the
//       second-level cache, w before that from the third.
//   v2  blocks of C, w's next rows prefetched, tiles of 4 x 6, so that fewer rows stream past those that
//       stay. Predicted 0.19 ms; measured 0.27, and 0.20 with everything in the second-level cache.
//   v3  sums of 16 vectors' lanes at a time (one took 42 cycles through the stack) and even blocks: 0.26 ms,
//       and 0.17 from the cache. What is left of the step's time is w's way from the third-level cache.

#include "providers/onednn/isa/table.hpp"
#include "providers/onednn/isa/vec.hpp"
#include "providers/onednn/kernels.hpp"

namespace quern::onednn::QUERN_ISA {

namespace {

// Widest panel and, for each number of vectors, the pixels that leave registers for weights and a broadcast.
// More than 8 pixels would run out of address registers.
#if defined(__AVX512F__)
constexpr int kMaxVecs = 4;
constexpr int kPixels[kMaxVecs + 1] = {0, 8, 8, 6, 6};
#else
constexpr int kMaxVecs = 2;
constexpr int kPixels[kMaxVecs + 1] = {0, 8, 6};
#endif
constexpr int kMaxPixels = 8;

// Taps per block of weights: a panel's block stays in the second-level cache.
constexpr int kTapBlock = 1024;

/// A run of `count` tiles side by side, kRows pixels each.
struct Tile {
  int count;
  const float* x;
  std::ptrdiff_t x_pixel;
  const int32_t* taps;
  int n_taps;
  const float* w;
  std::ptrdiff_t w_step;
  float* out;
  std::ptrdiff_t out_pixel;
  int last_lanes;     // channels in the last vector
  bool first, last;   // of the blocks of taps
  std::ptrdiff_t k;   // first channel
  Epilogue epilogue;  // its mask at `out`
};

template <int kVecs>
QUERN_INLINE Vec load_channels(const float* p, int v, int last_lanes) {
  return v == kVecs - 1 ? load_first(p + v * kLanes, last_lanes) : load(p + v * kLanes);
}
template <int kVecs>
QUERN_INLINE void store_channels(float* p, Vec value, int v, int last_lanes) {
  if (v == kVecs - 1 && last_lanes != kLanes)
    store_first(p + v * kLanes, value, last_lanes);
  else
    store(p + v * kLanes, value);
}

/// The sums of one tile, its pixels at x; w as in ProductRows.
template <int kRows, int kVecs>
QUERN_INLINE void accumulate(const float* const (&x)[kRows], const int32_t* tap, int n_taps, const float* w,
                             std::ptrdiff_t w_step, Vec (&acc)[kRows][kVecs]) {
  for (const int32_t* end = tap + n_taps; tap != end; ++tap) {
    const std::ptrdiff_t offset = *tap;
    Vec b[kVecs];
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) b[v] = load(w + v * kLanes);
    w += w_step;
    QUERN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const Vec a = splat(x[i][offset]);
      QUERN_UNROLL
      for (int v = 0; v < kVecs; ++v) acc[i][v] += a * b[v];
    }
  }
}

template <int kRows, int kVecs>
void product_tiles(const Tile& args) {
  const Tile t = args;  // a copy that no store can change
  const Epilogue& e = t.epilogue;
  const bool finish = t.last, sums = finish && e.sum != nullptr;
  Vec bias[kVecs], shift[kVecs], sum[kVecs], squares[kVecs];
  QUERN_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    bias[v] = e.bias != nullptr ? load_channels<kVecs>(e.bias + t.k, v, t.last_lanes) : Vec{};
    shift[v] = sum[v] = squares[v] = Vec{};
    if (!sums) continue;
    // Only the tile's own channels: the next ones may belong to another group.
    shift[v] = load_channels<kVecs>(e.shift + t.k, v, t.last_lanes);
    sum[v] = load_channels<kVecs>(e.sum + t.k, v, t.last_lanes);
    squares[v] = load_channels<kVecs>(e.sum_squares + t.k, v, t.last_lanes);
  }
  const float* x[kRows];
  QUERN_UNROLL
  for (int i = 0; i < kRows; ++i) x[i] = t.x + i * t.x_pixel;
  const std::ptrdiff_t advance = kRows * t.x_pixel;
  float* out = t.out;
  for (int tile = 0; tile < t.count; ++tile, out += kRows * t.out_pixel) {
    Vec acc[kRows][kVecs];
    QUERN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      QUERN_UNROLL
      for (int v = 0; v < kVecs; ++v) acc[i][v] = bias[v];
    }
    if (!t.first) {
      QUERN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v)
          acc[i][v] = load_channels<kVecs>(out + i * t.out_pixel, v, t.last_lanes);
      }
    }
    accumulate<kRows, kVecs>(x, t.taps, t.n_taps, t.w, t.w_step, acc);
    QUERN_UNROLL
    for (int i = 0; i < kRows; ++i) x[i] += advance;
    if (finish && e.relu) {
      QUERN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) acc[i][v] = rectify(acc[i][v]);
      }
    }
    if (finish && e.mask != nullptr) {
      const float* mask = e.mask + (out - t.out);
      QUERN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v)
          acc[i][v] = gate_positive(acc[i][v], load_channels<kVecs>(mask + i * t.out_pixel, v, t.last_lanes));
      }
    }
    if (sums) {
      QUERN_UNROLL
      for (int i = 0; i < kRows; ++i) {
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          const Vec d = acc[i][v] - shift[v];
          sum[v] += d;
          squares[v] += d * d;
        }
      }
    }
    QUERN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      QUERN_UNROLL
      for (int v = 0; v < kVecs; ++v)
        store_channels<kVecs>(out + i * t.out_pixel, acc[i][v], v, t.last_lanes);
    }
  }
  if (!sums) return;
  QUERN_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    store_channels<kVecs>(e.sum + t.k, sum[v], v, t.last_lanes);
    store_channels<kVecs>(e.sum_squares + t.k, squares[v], v, t.last_lanes);
  }
}

using TileFunction = void (*)(const Tile&);

template <int kVecs, int kRows = kMaxPixels>
constexpr TileFunction tile_of(int rows) {
  if constexpr (kRows == 0) {
    return nullptr;
  } else {
    if (rows == kRows) return product_tiles<(kRows <= kPixels[kVecs] ? kRows : kPixels[kVecs]), kVecs>;
    return tile_of<kVecs, kRows - 1>(rows);
  }
}

struct TileTable {
  TileFunction functions[kMaxVecs][kMaxPixels + 1] = {};
  constexpr TileTable() {
    for (int rows = 1; rows <= kMaxPixels; ++rows) {
      functions[0][rows] = tile_of<1>(rows);
      functions[1][rows] = tile_of<2>(rows);
#if defined(__AVX512F__)
      functions[2][rows] = tile_of<3>(rows);
      functions[3][rows] = tile_of<4>(rows);
#endif
    }
  }
};
constexpr TileTable kTiles;

}  // namespace

void product_rows(const ProductRows& a) {
  constexpr int kPanel = kMaxVecs * kLanes;
  for (int k0 = 0; k0 < a.k; k0 += kPanel) {
    const int channels = a.k - k0 < kPanel ? a.k - k0 : kPanel;
    const int vecs = ceil_div(channels, kLanes);
    const std::ptrdiff_t w_step = a.w_step > 0 ? a.w_step : vecs * kLanes;
    const float* panel = a.w_step > 0 ? a.w + k0 : a.w + std::ptrdiff_t{k0} * a.n_taps;
    // The columns are dealt out evenly: 14 pixels are 5 + 5 + 4, not 6 + 6 + 2.
    const int tiles = ceil_div(a.cols, kPixels[vecs]);
    const int narrow = a.cols / tiles, wide_tiles = a.cols % tiles;
    Tile t;
    t.x_pixel = a.x_pixel;
    t.w_step = w_step;
    t.out_pixel = a.out_pixel;
    t.last_lanes = channels - (vecs - 1) * kLanes;
    t.k = k0;
    t.epilogue = a.epilogue;
    for (int block = 0; block == 0 || block < a.n_taps; block += kTapBlock) {
      const int block_end = block + kTapBlock < a.n_taps ? block + kTapBlock : a.n_taps;
      t.first = block == 0;
      t.last = block_end == a.n_taps;
      for (int p = 0; p < a.rows; ++p) {
        int begin = a.tap_begin != nullptr && a.tap_begin[p] > block ? a.tap_begin[p] : block;
        const int end = a.tap_end != nullptr && a.tap_end[p] < block_end ? a.tap_end[p] : block_end;
        if (begin > end) begin = end;
        t.taps = a.taps + begin;
        t.n_taps = end - begin;
        t.w = panel + begin * w_step;
        const auto run = [&](int q, int pixels, int count) QUERN_INLINE_LAMBDA {
          if (count == 0) return;
          const std::ptrdiff_t at = p * a.out_row + q * a.out_pixel + k0;
          t.count = count;
          t.x = a.x + p * a.x_row + q * a.x_pixel;
          t.out = a.out + at;
          if (a.epilogue.mask != nullptr) t.epilogue.mask = a.epilogue.mask + at;
          kTiles.functions[vecs - 1][pixels](t);
        };
        run(0, narrow + 1, wide_tiles);
        run(wide_tiles * (narrow + 1), narrow, tiles - wide_tiles);
      }
    }
  }
}

namespace {

#if defined(__AVX512F__)
constexpr int kTaps[kMaxVecs + 1] = {0, 9, 9, 7, 6};
#else
constexpr int kTaps[kMaxVecs + 1] = {0, 9, 6};
#endif
constexpr int kMaxTaps = 9;

struct OuterTile {
  const OuterRows* args;
  const int32_t* taps;
  const float* b;
  float* out;
  int lanes;  // channels in the last vector
};

template <int kCount, int kVecs, bool kTail>
void outer_tile(const OuterTile& t) {
  const OuterRows& args = *t.args;
  // What was there is added last: a long sum of sums of rows loses fewer digits than one of single products.
  Vec acc[kCount][kVecs];
  QUERN_UNROLL
  for (int j = 0; j < kCount; ++j) {
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) acc[j][v] = Vec{};
  }
  const std::ptrdiff_t a_pixel = args.a_pixel, b_pixel = args.b_pixel;
  for (int p = 0; p < args.rows; ++p) {
    const float* a[kCount];
    QUERN_UNROLL
    for (int j = 0; j < kCount; ++j) a[j] = args.a + p * args.a_row + t.taps[j];
    const float* b = t.b + p * args.b_row;
    std::ptrdiff_t at = 0;
    for (const float* end = b + args.cols * b_pixel; b != end; b += b_pixel, at += a_pixel) {
      Vec value[kVecs];
      QUERN_UNROLL
      for (int v = 0; v < kVecs; ++v) value[v] = load_lanes<kTail>(b + v * kLanes, t.lanes);
      QUERN_UNROLL
      for (int j = 0; j < kCount; ++j) {
        const Vec s = splat(a[j][at]);
        QUERN_UNROLL
        for (int v = 0; v < kVecs; ++v) acc[j][v] += s * value[v];
      }
    }
  }
  QUERN_UNROLL
  for (int j = 0; j < kCount; ++j) {
    QUERN_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      float* out = t.out + j * args.out_step + v * kLanes;
      if (args.accumulate) acc[j][v] += load_lanes<kTail>(out, t.lanes);
      store_lanes<kTail>(out, acc[j][v], t.lanes);
    }
  }
}

using OuterFunction = void (*)(const OuterTile&);

template <int kVecs, bool kTail, int kCount = kMaxTaps>
constexpr OuterFunction outer_of(int taps) {
  if constexpr (kCount == 0) {
    return nullptr;
  } else {
    if (taps == kCount) return outer_tile<(kCount <= kTaps[kVecs] ? kCount : kTaps[kVecs]), kVecs, kTail>;
    return outer_of<kVecs, kTail, kCount - 1>(taps);
  }
}

/// Index 0: one ragged vector; V: V whole vectors.
struct OuterTable {
  OuterFunction functions[kMaxVecs + 1][kMaxTaps + 1] = {};
  constexpr OuterTable() {
    for (int taps = 1; taps <= kMaxTaps; ++taps) {
      functions[0][taps] = outer_of<1, true>(taps);
      functions[1][taps] = outer_of<1, false>(taps);
      functions[2][taps] = outer_of<2, false>(taps);
#if defined(__AVX512F__)
      functions[3][taps] = outer_of<3, false>(taps);
      functions[4][taps] = outer_of<4, false>(taps);
#endif
    }
  }
};
constexpr OuterTable kOuter;

}  // namespace

void outer_rows(const OuterRows& args) {
  OuterTile t;
  t.args = &args;
  for (int k0 = 0; k0 < args.k;) {
    const int whole = (args.k - k0) / kLanes;
    const int vecs = whole < kMaxVecs ? whole : kMaxVecs;
    t.lanes = vecs == 0 ? args.k - k0 : kLanes;
    t.b = args.b + k0;
    const int limit = kTaps[vecs == 0 ? 1 : vecs];
    const int tiles = ceil_div(args.n_taps, limit);
    int j = 0;
    for (int tile = 0; tile < tiles; ++tile) {
      const int taps = (args.n_taps - j + tiles - tile - 1) / (tiles - tile);
      t.taps = args.taps + j;
      t.out = args.out + j * args.out_step + k0;
      kOuter.functions[vecs][taps](t);
      j += taps;
    }
    k0 += vecs == 0 ? t.lanes : vecs * kLanes;
  }
}

namespace {

// A tile is this many rows of x by this many of w.
#if defined(__AVX512F__)
constexpr int kDotRows = 4, kDotCols = 6;
#else
constexpr int kDotRows = 3, kDotCols = 4;
#endif

// Floats of C a block: those of a tile's rows stay in the first-level cache, where all tiles of rows find w.
constexpr int kDotBlock = 64 * kLanes;
// Rows of x whose sums are kept, as vectors, from block to block.
constexpr int kDotStrip = 64;

/// Adds the products of the floats [begin, end) of C to the vectors `sums`, which need not be set before the
/// first block; the last block writes the tile's outputs instead. Prefetches the same floats of the row
/// `ahead`.
template <int kRows, int kCols>
void dot_tile(const DotRows& a, int i0, int k0, std::ptrdiff_t begin, std::ptrdiff_t end, Vec* sums,
              const float* ahead) {
  Vec acc[kRows][kCols];
  QUERN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    QUERN_UNROLL
    for (int k = 0; k < kCols; ++k) acc[i][k] = begin == 0 ? Vec{} : sums[i * kCols + k];
  }
  const float *x[kRows], *w[kCols];
  QUERN_UNROLL
  for (int i = 0; i < kRows; ++i) x[i] = a.x + (i0 + i) * a.x_step;
  QUERN_UNROLL
  for (int k = 0; k < kCols; ++k) w[k] = a.w + (k0 + k) * a.w_step;
  const auto step = [&](auto read, std::ptrdiff_t c) QUERN_INLINE_LAMBDA {
    Vec right[kCols];
    QUERN_UNROLL
    for (int k = 0; k < kCols; ++k) right[k] = read(w[k] + c);
    QUERN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const Vec left = read(x[i] + c);
      QUERN_UNROLL
      for (int k = 0; k < kCols; ++k) acc[i][k] += left * right[k];
    }
  };
  std::ptrdiff_t c = begin;
  for (; c + kLanes <= end; c += kLanes) {
    __builtin_prefetch(ahead + c, 0, 2);
    step([](const float* p) QUERN_INLINE_LAMBDA { return load(p); }, c);
  }
  if (const int rest = static_cast<int>(end - c); rest > 0)
    step([rest](const float* p) QUERN_INLINE_LAMBDA { return load_first(p, rest); }, c);
  if (end < a.c) {
    QUERN_UNROLL
    for (int i = 0; i < kRows; ++i) {
      QUERN_UNROLL
      for (int k = 0; k < kCols; ++k) sums[i * kCols + k] = acc[i][k];
    }
    return;
  }
  constexpr int kSums = kRows * kCols, kVecs = ceil_div(kSums, kLanes);
  float sum[kVecs * kLanes];
  QUERN_UNROLL
  for (int v = 0; v < kVecs; ++v) {
    Vec square[kLanes];
    QUERN_UNROLL
    for (int lane = 0; lane < kLanes; ++lane) {
      const int at = v * kLanes + lane;
      square[lane] = at < kSums ? acc[at / kCols][at % kCols] : Vec{};
    }
    store(sum + v * kLanes, sums_of_lanes(square));
  }
  for (int i = 0; i < kRows; ++i) {
    for (int k = 0; k < kCols; ++k) {
      float y = sum[i * kCols + k] + (a.bias != nullptr ? a.bias[k0 + k] : 0.0f);
      if (a.relu && y < 0.0f) y = 0.0f;
      a.out[(i0 + i) * a.out_step + k0 + k] = y;
    }
  }
}

using DotFunction = void (*)(const DotRows&, int, int, std::ptrdiff_t, std::ptrdiff_t, Vec*, const float*);

template <int kRows, int kCols>
constexpr DotFunction dot_of(int rows, int cols) {
  if constexpr (kRows == 0 || kCols == 0) {
    return nullptr;
  } else {
    if (rows < kRows) return dot_of<kRows - 1, kCols>(rows, cols);
    if (cols < kCols) return dot_of<kRows, kCols - 1>(rows, cols);
    return dot_tile<kRows, kCols>;
  }
}

struct DotTable {
  DotFunction functions[kDotRows + 1][kDotCols + 1] = {};
  constexpr DotTable() {
    for (int rows = 1; rows <= kDotRows; ++rows)
      for (int cols = 1; cols <= kDotCols; ++cols)
        functions[rows][cols] = dot_of<kDotRows, kDotCols>(rows, cols);
  }
};
constexpr DotTable kDots;

}  // namespace

void dot_rows(const DotRows& a) {
  Vec kept[kDotStrip * kDotCols];
  const int col_tiles = ceil_div(a.k, kDotCols);
  const int blocks = a.c > kDotBlock ? ceil_div(a.c, kDotBlock) : 1;
  const int block = ceil_div(ceil_div(a.c, blocks), kLanes) * kLanes;
  for (int i0 = 0; i0 < a.rows; i0 += kDotStrip) {
    const int strip = a.rows - i0 < kDotStrip ? a.rows - i0 : kDotStrip;
    const int row_tiles = ceil_div(strip, kDotRows);
    int k = 0;
    for (int col_tile = 0; col_tile < col_tiles; ++col_tile) {
      const int cols = (a.k - k + col_tiles - col_tile - 1) / (col_tiles - col_tile);
      int c = 0;
      do {
        const int end = a.c - c > block ? c + block : a.c;
        int i = 0;
        for (int tile = 0; tile < row_tiles; ++tile) {
          const int rows = (strip - i + row_tiles - tile - 1) / (row_tiles - tile);
          const int next = k + cols + tile;  // each tile fetches one row of the next columns' w
          const float* ahead = a.w + (next < a.k ? next : k) * a.w_step;
          kDots.functions[rows][cols](a, i0 + i, k, c, end, kept + i * cols, ahead);
          i += rows;
        }
        c = end;
      } while (c < a.c);
      k += cols;
    }
  }
}

void pack_transposed(const PackTransposed& a) {
  constexpr int kPanel = kMaxVecs * kLanes;
  for (int k0 = 0; k0 < a.k; k0 += kPanel) {
    const int channels = a.k - k0 < kPanel ? a.k - k0 : kPanel;
    const int width = ceil_div(channels, kLanes) * kLanes;
    float* panel = a.out + std::ptrdiff_t{k0} * a.n_taps;
    for (int k = 0; k < channels; k += kLanes) {
      for (int j = a.begin; j < a.end; j += kLanes) {
        const int taps = a.end - j < kLanes ? a.end - j : kLanes;
        Vec square[kLanes];
        QUERN_UNROLL
        for (int i = 0; i < kLanes; ++i)
          square[i] = k + i < channels ? load_first(a.w + (k0 + k + i) * a.w_step + j, taps) : Vec{};
        transpose(square);
        float* out = panel + std::ptrdiff_t{j} * width + k;
        QUERN_UNROLL
        for (int i = 0; i < kLanes; ++i)
          if (i < taps) store(out + i * width, square[i]);
      }
    }
  }
}

void pack_rows(const PackRows& a) {
  constexpr int kPanel = kMaxVecs * kLanes;
  for (int k0 = 0; k0 < a.k; k0 += kPanel) {
    const int channels = a.k - k0 < kPanel ? a.k - k0 : kPanel;
    const int width = ceil_div(channels, kLanes) * kLanes;
    for (int j = a.begin; j < a.end; ++j) {
      const float* in = a.w + a.offsets[j] + k0;
      float* out = a.out + std::ptrdiff_t{k0} * a.n_taps + std::ptrdiff_t{j} * width;
      int k = 0;
      for (; k + kLanes <= channels; k += kLanes) store(out + k, load(in + k));
      if (k < channels) store(out + k, load_first(in + k, channels - k));
    }
  }
}

void reduce_transposed(const ReduceTransposed& a) {
  for (int k = a.begin; k < a.end; k += kLanes) {
    const int rows = a.end - k < kLanes ? a.end - k : kLanes;
    for (int j = 0; j < a.n_taps; j += kLanes) {
      const int taps = a.n_taps - j < kLanes ? a.n_taps - j : kLanes;
      Vec square[kLanes];
      QUERN_UNROLL
      for (int i = 0; i < kLanes; ++i) {
        square[i] = Vec{};
        if (i >= taps) continue;
        for (int part = 0; part < a.parts; ++part)
          square[i] += load_first(a.in + part * a.in_part + (j + i) * a.in_step + k, rows);
      }
      transpose(square);
      QUERN_UNROLL
      for (int i = 0; i < kLanes; ++i)
        if (i < rows) store_first(a.out + (k + i) * a.out_step + j, square[i], taps);
    }
  }
}

}  // namespace quern::onednn::QUERN_ISA
