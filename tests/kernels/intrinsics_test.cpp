// Each intrinsic by itself, on every target. The expectations are written from the PTX ISA and the CUDA C++
// Programming Guide, not from the emulator: on a GPU the same tests check the inline PTX.

#include "tests/kernels/intrinsics.cuh"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/kernels/targets.hpp"

namespace quern {
namespace {

using test::DeviceArray;

class Intrinsics : public test::TargetTest {
 protected:
  bool on_gpu() const { return GetParam() == test::Target::cuda; }
};

// --- Fragment layouts --------------------------------------------------------------------------

TEST_P(Intrinsics, LdmatrixLayout) {
  std::vector<std::uint16_t> elements(32 * 8);
  std::iota(elements.begin(), elements.end(), std::uint16_t{1000});
  const auto element = [&](int matrix, int row, int column) {
    return std::uint32_t{elements[static_cast<std::size_t>((matrix * 8 + row) * 8 + column)]};
  };
  const DeviceArray<std::uint16_t> in(device(), elements);
  for (const int matrices : {1, 2, 4}) {
    for (const bool transposed : {false, true}) {
      const DeviceArray<std::uint32_t> out(device(), std::vector<std::uint32_t>(32 * 4, 0));
      QUERN_RUN(probe_ldmatrix, {in.data(), out.data(), matrices, transposed});
      const auto fragments = out.host();
      for (int lane = 0; lane < 32; ++lane) {
        for (int j = 0; j < matrices; ++j) {
          // "each thread receives a fragment of a row: row i / 4, elements 2 * (i % 4) and the next"
          const int row = lane / 4, column = lane % 4 * 2;
          const std::uint32_t low = transposed ? element(j, column, row) : element(j, row, column);
          const std::uint32_t high = transposed ? element(j, column + 1, row) : element(j, row, column + 1);
          ASSERT_EQ(fragments[static_cast<std::size_t>(lane * 4 + j)], low | (high << 16))
              << "lane " << lane << " matrix " << j << " of " << matrices
              << (transposed ? " transposed" : "");
        }
      }
    }
  }
}

struct Form {
  kernels::MmaForm form;
  int k;
  bool pairs;  ///< bf16: two elements a register
};

/// Row and column (or k and column) of the elements in a lane's registers, from the figures of the PTX ISA.
struct Position {
  int row, column;
};
Position a_position(const Form& form, int lane, int reg, int half) {
  const int group = lane / 4, member = lane % 4;
  const int row = reg % 2 == 0 ? group : group + 8;
  if (form.pairs) return {row, member * 2 + half + (reg < 2 ? 0 : 8)};
  return {row, member + (reg < 2 ? 0 : 4)};
}
Position b_position(const Form& form, int lane, int reg, int half) {
  const int group = lane / 4, member = lane % 4;
  if (form.pairs) return {member * 2 + half + reg * 8, group};
  return {member + reg * 4, group};
}
Position c_position(int lane, int reg) {
  return {reg < 2 ? lane / 4 : lane / 4 + 8, lane % 4 * 2 + reg % 2};
}

class MmaTest : public Intrinsics {
 protected:
  /// Small integers, exact in every format.
  static float small(int i, int salt) { return static_cast<float>((i * 37 + salt * 11) % 15 - 7); }

  void check(const Form& form) {
    float a[16][16] = {}, b[16][8] = {}, c[16][8] = {};
    for (int i = 0; i < 16; ++i)
      for (int k = 0; k < form.k; ++k) a[i][k] = small(i * 16 + k, 1);
    for (int k = 0; k < form.k; ++k)
      for (int j = 0; j < 8; ++j) b[k][j] = small(k * 8 + j, 2);
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 8; ++j) c[i][j] = small(i * 8 + j, 3);

    const auto bits = [](float value) { return std::bit_cast<std::uint32_t>(value); };
    const auto pack = [&](float low, float high) { return bits(low) >> 16 | (bits(high) & 0xffff0000u); };
    const int a_registers = form.k / (form.pairs ? 4 : 2), b_registers = a_registers / 2;
    std::vector<std::uint32_t> a_fragment(32 * 4, 0), b_fragment(32 * 2, 0);
    std::vector<float> c_fragment(32 * 4);
    for (int lane = 0; lane < 32; ++lane) {
      for (int reg = 0; reg < a_registers; ++reg) {
        const auto [row, column] = a_position(form, lane, reg, 0);
        const auto [row1, column1] = a_position(form, lane, reg, 1);
        a_fragment[static_cast<std::size_t>(lane * 4 + reg)] =
            form.pairs ? pack(a[row][column], a[row1][column1]) : bits(a[row][column]);
      }
      for (int reg = 0; reg < b_registers; ++reg) {
        const auto [k, column] = b_position(form, lane, reg, 0);
        const auto [k1, column1] = b_position(form, lane, reg, 1);
        b_fragment[static_cast<std::size_t>(lane * 2 + reg)] =
            form.pairs ? pack(b[k][column], b[k1][column1]) : bits(b[k][column]);
      }
      for (int reg = 0; reg < 4; ++reg) {
        const auto [row, column] = c_position(lane, reg);
        c_fragment[static_cast<std::size_t>(lane * 4 + reg)] = c[row][column];
      }
    }
    const DeviceArray<std::uint32_t> da(device(), a_fragment), db(device(), b_fragment);
    const DeviceArray<float> dc(device(), c_fragment), dd(device(), 32 * 4);
    QUERN_RUN(probe_mma, {form.form, da.data(), db.data(), dc.data(), dd.data()});
    const auto d = dd.host();
    for (int lane = 0; lane < 32; ++lane) {
      for (int reg = 0; reg < 4; ++reg) {
        const auto [row, column] = c_position(lane, reg);
        float expected = c[row][column];
        for (int k = 0; k < form.k; ++k) expected += a[row][k] * b[k][column];
        ASSERT_EQ(d[static_cast<std::size_t>(lane * 4 + reg)], expected)
            << "lane " << lane << " register " << reg;
      }
    }
  }
};

TEST_P(MmaTest, M16N8K4Tf32Layout) {
  check({kernels::MmaForm::m16n8k4_tf32, 4, false});
}
TEST_P(MmaTest, M16N8K8Tf32Layout) {
  check({kernels::MmaForm::m16n8k8_tf32, 8, false});
}
TEST_P(MmaTest, M16N8K8Bf16Layout) {
  check({kernels::MmaForm::m16n8k8_bf16, 8, true});
}
TEST_P(MmaTest, M16N8K16Bf16Layout) {
  check({kernels::MmaForm::m16n8k16_bf16, 16, true});
}

TEST_P(MmaTest, Tf32IgnoresTheLowBits) {
  // 1 + 2^-11 has a bit below tf32's last: as an operand it counts as 1.
  const std::uint32_t almost = std::bit_cast<std::uint32_t>(1.0f) | 0x1000u;
  const DeviceArray<std::uint32_t> a(device(), std::vector<std::uint32_t>(32 * 4, almost));
  const DeviceArray<std::uint32_t> b(device(), std::vector<std::uint32_t>(32 * 2, almost));
  const DeviceArray<float> c(device(), std::vector<float>(32 * 4, 0.0f)), d(device(), 32 * 4);
  QUERN_RUN(probe_mma, {kernels::MmaForm::m16n8k8_tf32, a.data(), b.data(), c.data(), d.data()});
  for (const float value : d.host()) ASSERT_EQ(value, 8.0f);
}

// --- Asynchronous copies -----------------------------------------------------------------------

TEST_P(Intrinsics, CpAsyncSizesAndZeroFill) {
  std::vector<float> source(32 * 4);
  std::iota(source.begin(), source.end(), 1.0f);
  const DeviceArray<float> in(device(), source);
  for (const int bytes : {4, 8, 16}) {
    for (int source_bytes = -1; source_bytes <= bytes; source_bytes += source_bytes < 0 ? 1 : 4) {
      const DeviceArray<float> out(device(), 32 * 4);
      QUERN_RUN(probe_cp_async, {in.data(), out.data(), bytes, source_bytes});
      const auto values = out.host();
      for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < 4; ++i) {
          const auto at = static_cast<std::size_t>(lane * 4 + i);
          const bool copied = i * 4 < (source_bytes < 0 ? bytes : source_bytes);
          const float expected = copied ? source[at] : i * 4 < bytes ? 0.0f : -1.0f;
          ASSERT_EQ(values[at], expected)
              << bytes << " bytes, " << source_bytes << " of them from the source, lane " << lane;
        }
      }
    }
  }
}

TEST_P(Intrinsics, CpAsyncGroupsArriveAtTheirWait) {
  std::vector<float> source(4 * 32);
  std::iota(source.begin(), source.end(), 1.0f);
  const DeviceArray<float> in(device(), source), out(device(), 4 * 32);
  QUERN_RUN(probe_cp_async_groups, {in.data(), out.data(), nullptr});
  EXPECT_EQ(out.host(), source);
}

TEST_P(Intrinsics, CpAsyncIsNotANumberBeforeTheWait) {
  if (GetParam() != test::Target::emu) GTEST_SKIP() << "the plain emulator's promise";
  const DeviceArray<float> in(device(), std::vector<float>(4 * 32, 1.0f)), out(device(), 4 * 32),
      early(device(), 32);
  QUERN_RUN(probe_cp_async_groups, {in.data(), out.data(), early.data()});
  for (const float value : early.host()) EXPECT_TRUE(std::isnan(value));
}

// --- Warp collectives --------------------------------------------------------------------------

TEST_P(Intrinsics, Shuffles) {
  using kernels::ShuffleForm;
  for (const int width : {32, 16, 8, 2, 1}) {
    for (const ShuffleForm form :
         {ShuffleForm::index, ShuffleForm::up, ShuffleForm::down, ShuffleForm::exclusive_or}) {
      for (const unsigned argument : {0u, 1u, 3u, 7u, 16u, 31u}) {
        const DeviceArray<float> out(device(), 32);
        const DeviceArray<unsigned long long> wide(device(), 32);
        QUERN_RUN(probe_shuffle, {form, argument, width, out.data(), wide.data()});
        const auto values = out.host();
        const auto wide_values = wide.host();
        for (int lane = 0; lane < 32; ++lane) {
          // Programming guide, "Warp Shuffle Functions".
          const int delta = static_cast<int>(argument), segment = lane / width * width;
          int source = lane;
          if (form == ShuffleForm::index) source = segment + delta % width;
          if (form == ShuffleForm::up && lane - delta >= segment) source = lane - delta;
          if (form == ShuffleForm::down && lane + delta < segment + width) source = lane + delta;
          if (form == ShuffleForm::exclusive_or && (lane ^ delta) < segment + width) source = lane ^ delta;
          const auto at = static_cast<std::size_t>(lane);
          ASSERT_EQ(values[at], 100.0f + static_cast<float>(source))
              << "form " << static_cast<int>(form) << " argument " << argument << " width " << width
              << " lane " << lane;
          ASSERT_EQ(wide_values[at],
                    0x100000000ull * static_cast<unsigned>(source + 1) + static_cast<unsigned>(source));
        }
      }
    }
  }
}

TEST_P(Intrinsics, VotesMatchesAndReductions) {
  if (device().info().sm < 80) GTEST_SKIP() << "needs sm_80";
  std::vector<unsigned> in(32);
  for (std::size_t i = 0; i < 32; ++i)
    in[i] = static_cast<unsigned>(i * 2654435761u) ^ (i % 5 == 0 ? 0x80000000u : 0);
  const DeviceArray<unsigned> x(device(), in), out(device(), std::size_t{kernels::kWarpProbes} * 32);
  QUERN_RUN(probe_warp, {x.data(), out.data()});
  const auto results = out.host();

  unsigned odd = 0, sum = 0, all = ~0u, any = 0, parity = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    odd |= (in[i] & 1u) << i;
    sum += in[i];
    all &= in[i] | 0xff00ff00u;
    any |= in[i];
    parity ^= in[i];
  }
  const auto [low, high] = std::minmax_element(in.begin(), in.end());
  const auto less = [](unsigned a, unsigned b) { return static_cast<int>(a) < static_cast<int>(b); };
  const auto [signed_low, signed_high] = std::minmax_element(in.begin(), in.end(), less);
  for (std::size_t lane = 0; lane < 32; ++lane) {
    unsigned same = 0;
    for (std::size_t other = 0; other < 32; ++other)
      same |= (in[other] % 3 == in[lane] % 3 ? 1u : 0u) << other;
    const unsigned expected[] = {odd,          1,   0,   1,   0,     same, sum, *low, *high, *signed_low,
                                 *signed_high, sum, all, any, parity};
    for (std::size_t probe = 0; probe < std::size(expected); ++probe)
      ASSERT_EQ(results[probe * 32 + lane], expected[probe]) << "probe " << probe << " lane " << lane;
  }
}

TEST_P(Intrinsics, HalvesOfAWarpDiverge) {
  if (device().info().sm < 80) GTEST_SKIP() << "needs sm_80";
  std::vector<unsigned> in(32);
  for (std::size_t i = 0; i < 32; ++i) in[i] = static_cast<unsigned>(i * i + 3);
  const DeviceArray<unsigned> x(device(), in), out(device(), 96);
  QUERN_RUN(probe_half_warps, {x.data(), out.data()});
  const auto results = out.host();
  const unsigned sum = std::accumulate(in.begin(), in.begin() + 16, 0u);
  unsigned odd = 0;
  for (std::size_t i = 16; i < 32; ++i) odd |= (in[i] & 1u) << i;
  for (std::size_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(results[lane], lane < 16 ? sum : in[31]) << lane;
    EXPECT_EQ(results[32 + lane], lane < 16 ? in[lane ^ 1] : odd) << lane;
    EXPECT_EQ(results[64 + lane], in[31 - lane]) << lane;
  }
}

// --- Block-wide operations ---------------------------------------------------------------------

TEST_P(Intrinsics, BlockVotes) {
  for (const int threads : {1, 32, 77, 78, 96, 1024}) {
    const DeviceArray<unsigned> out(device(), static_cast<std::size_t>(threads) * 3);
    QUERN_RUN(probe_block_votes, {threads, out.data()});
    const auto results = out.host();
    for (std::size_t i = 0; i < static_cast<std::size_t>(threads); ++i) {
      ASSERT_EQ(results[i * 3], static_cast<unsigned>((threads + 2) / 3)) << threads;
      ASSERT_EQ(results[i * 3 + 1] != 0, threads <= 1000) << threads;
      ASSERT_EQ(results[i * 3 + 2] != 0, threads > 77) << threads;
    }
  }
}

TEST_P(Intrinsics, NamedBarriers) {
  constexpr int kRounds = 5;
  std::vector<float> in(kRounds * 32);
  std::iota(in.begin(), in.end(), 0.0f);
  const DeviceArray<float> x(device(), in), out(device(), in.size());
  QUERN_RUN(probe_named_barriers, {x.data(), out.data(), kRounds});
  const auto results = out.host();
  for (std::size_t i = 0; i < in.size(); ++i) ASSERT_EQ(results[i], in[i / 32 * 32 + 31 - i % 32]) << i;
}

TEST_P(Intrinsics, Atomics) {
  constexpr unsigned kThreads = 256;
  const DeviceArray<unsigned> words(device(), std::vector<unsigned>{0, 0, 1000, 0, 0, 0, ~0u, 0, 0, 0, 0, 0});
  const DeviceArray<unsigned long long> wide(device(), std::vector<unsigned long long>{0, 0});
  const DeviceArray<unsigned> old_values(device(), kThreads);
  QUERN_RUN(probe_atomics, {words.data(), wide.data(), old_values.data()});
  const unsigned sum = kThreads * (kThreads - 1) / 2;
  unsigned parity = 0;
  for (unsigned i = 0; i < kThreads; ++i) parity ^= i;
  // atomicDec from 0 goes to 5, then down again: a cycle of six.
  const unsigned dec = (6 - kThreads % 6) % 6;
  const auto w = words.host();
  const std::vector<unsigned> expected{sum, 0u - sum, 1000 - kThreads, kThreads - 1, 0u - (kThreads - 1),
                                       ~0u, 0,        parity,          kThreads,     dec,
                                       42,  17};
  EXPECT_EQ(w, expected);
  EXPECT_EQ(wide.host(), (std::vector<unsigned long long>{0x100000001ull * kThreads, 255ull << 33}));
  auto seen = old_values.host();
  std::sort(seen.begin(), seen.end());
  for (unsigned i = 0; i < kThreads; ++i) ASSERT_EQ(seen[i], i);
}

TEST_P(Intrinsics, Coordinates) {
  constexpr std::size_t kBlocks = 3 * 2 * 4, kThreads = 5 * 3 * 2;
  const DeviceArray<int> out(device(), kBlocks * kThreads * 6);
  QUERN_RUN(probe_coordinates, {out.data()});
  const auto results = out.host();
  for (std::size_t i = 0; i < kBlocks * kThreads; ++i) {
    const int block = static_cast<int>(i / kThreads), thread = static_cast<int>(i % kThreads);
    const std::vector<int> expected{block % 3,  block / 3 % 2,  block / 6,
                                    thread % 5, thread / 5 % 3, thread / 15};
    ASSERT_EQ(std::vector<int>(results.begin() + static_cast<std::ptrdiff_t>(i * 6),
                               results.begin() + static_cast<std::ptrdiff_t>(i * 6 + 6)),
              expected);
  }
}

TEST_P(Intrinsics, SharedMemory) {
  std::vector<float> in(256);
  std::iota(in.begin(), in.end(), 0.0f);
  const DeviceArray<float> x(device(), in), out(device(), 256);
  for (const std::size_t bytes : {std::size_t{2048}, std::size_t{100 * 1024}}) {
    QUERN_RUN(probe_shared, {x.data(), out.data(), bytes});
    const auto results = out.host();
    for (std::size_t i = 0; i < 256; ++i) ASSERT_EQ(results[i], in[255 - i]) << i;  // five reversals
  }
}

// --- Numbers -----------------------------------------------------------------------------------

TEST_P(Intrinsics, NumberFormats) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x{0.0f,
                             -0.0f,
                             1.0f,
                             -2.5f,
                             1.0f + 0x1p-11f,
                             1.0f + 0x1p-11f + 0x1p-23f,
                             1.0f + 3 * 0x1p-11f,
                             1.0f + 0x1p-8f,
                             1.0f + 3 * 0x1p-8f,
                             3.14159265f,
                             1e30f,
                             -1e-30f,
                             inf,
                             -inf,
                             65504.0f};
  const std::size_t n = x.size();
  const DeviceArray<float> in(device(), x), unpacked(device(), 2 * n);
  const DeviceArray<std::uint32_t> tf32(device(), n), packed(device(), n);
  const DeviceArray<std::uint16_t> bf16(device(), n);
  QUERN_RUN(probe_numbers,
            {in.data(), tf32.data(), bf16.data(), packed.data(), unpacked.data(), static_cast<int>(n)});
  const auto t = tf32.host(), p = packed.host();
  const auto b = bf16.host();
  const auto u = unpacked.host();
  for (std::size_t i = 0; i < n; ++i) {
    // Rounding by scaling to integers, independently of any bit trick.
    const auto rounded = [&](int mantissa_bits, bool ties_away) {
      if (x[i] == 0.0f || std::isinf(x[i])) return x[i];
      int exponent = 0;
      const double mantissa = std::ldexp(std::frexp(static_cast<double>(x[i]), &exponent), mantissa_bits + 1);
      const double whole = ties_away ? std::round(mantissa) : std::nearbyint(mantissa);
      return static_cast<float>(std::ldexp(whole, exponent - mantissa_bits - 1));
    };
    EXPECT_EQ(std::bit_cast<float>(t[i] & 0xffffe000u), rounded(10, true)) << x[i];
    const float half = std::bit_cast<float>(std::uint32_t{b[i]} << 16);
    EXPECT_EQ(half, rounded(7, false)) << x[i];
    EXPECT_EQ(std::bit_cast<std::uint32_t>(half) >> 16, p[i] & 0xffffu);
    EXPECT_EQ(u[2 * i], half);
    EXPECT_EQ(u[2 * i + 1], -half);
  }
}

TEST_P(Intrinsics, FastMath) {
  std::vector<float> x;
  for (int i = 0; i < 60; ++i) x.push_back(0.05f + 0.05f * static_cast<float>(i));
  const std::size_t n = x.size();
  const DeviceArray<float> in(device(), x), out(device(), n * kernels::kMathProbes);
  QUERN_RUN(probe_math, {in.data(), out.data(), static_cast<int>(n)});
  const auto results = out.host();
  for (std::size_t i = 0; i < n; ++i) {
    const double v = static_cast<double>(x[i]);
    const double expected[] = {std::exp(v),
                               std::log(v),
                               1 / std::sqrt(v),
                               1 / v,
                               1 / v,
                               v * v - 1,
                               std::clamp(v - 1, 0.0, 1.0),
                               std::sin(v),
                               std::cos(v),
                               std::max(v, 1.5) + std::max(v, 2.5) + std::min(v, 0.75),
                               std::pow(v, 1.5),
                               std::sqrt(v) + v + std::floor(v)};
    // __sinf, __cosf and __logf promise absolute errors of about 2^-21, the others a few units in the last
    // place.
    for (std::size_t probe = 0; probe < std::size(expected); ++probe)
      EXPECT_NEAR(static_cast<double>(results[probe * n + i]), expected[probe],
                  2e-6 * (1 + std::abs(expected[probe])))
          << "probe " << probe << " of " << x[i];
  }
}

TEST_P(Intrinsics, Integers) {
  const std::vector<unsigned> x{0,           1,           2,           0x80000000u, 0xffffffffu,
                                0x12345678u, 0x7f800000u, 0xff800000u, 0x7fc00000u, 0x40200000u,
                                0x40600000u, 0xc0200000u, 0x4f000000u, 100};
  const std::size_t n = x.size();
  const DeviceArray<unsigned> in(device(), x), out(device(), n * kernels::kIntegerProbes);
  QUERN_RUN(probe_integers, {in.data(), out.data(), static_cast<int>(n)});
  const auto results = out.host();
  for (std::size_t i = 0; i < n; ++i) {
    unsigned reversed = 0;
    for (int b = 0; b < 32; ++b) reversed |= (x[i] >> b & 1u) << (31 - b);
    const double f = static_cast<double>(std::bit_cast<float>(x[i]));
    const double clamped = std::isnan(f) ? 0.0 : std::clamp(std::nearbyint(f), -2147483648.0, 2147483647.0);
    const unsigned expected[] = {
        static_cast<unsigned>(std::popcount(x[i])),
        static_cast<unsigned>(std::countl_zero(x[i])),
        x[i] == 0 ? 0u : static_cast<unsigned>(std::countr_zero(x[i])) + 1,
        reversed,
        static_cast<unsigned>((std::uint64_t{x[i]} * 0x9E3779B9u) >> 32),
        // Selector 0x5140 takes, from the lowest: byte 0 of x, byte 0 of y, byte 1 of x, byte 1 of y.
        (x[i] & 0xffu) | 0xD4u << 8 | (x[i] >> 8 & 0xffu) << 16 | 0xC3u << 24,
        static_cast<unsigned>(static_cast<int>(clamped)),
        static_cast<unsigned>(std::min(static_cast<int>(x[i]), 7)),
        x[i],
    };
    for (std::size_t probe = 0; probe < std::size(expected); ++probe)
      EXPECT_EQ(results[probe * n + i], expected[probe]) << "probe " << probe << " of " << x[i];
  }
}

QUERN_FOR_ALL_TARGETS(Intrinsics);
QUERN_FOR_ALL_TARGETS(MmaTest);

}  // namespace
}  // namespace quern
