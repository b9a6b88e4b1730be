#pragma once

/// How an implicit matrix product is cut up: the tile that a block computes, and into how many parts its sum
/// over k is split. Chosen once, when an operation is prepared; kernels take it as it is.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace quern::kernels {

/// D[m, n] = sum over `depth` of A[m, k] * B[k, n], `batches` times over.
struct GemmProblem {
  std::int64_t m = 0, n = 0, depth = 0;
  int batches = 1;
  /// Operands can be copied 16 bytes at a time. Elsewhere only the smallest tile is compiled.
  bool aligned = false;
};

enum class GemmTile : std::uint8_t { m32n32, m64n32, m64n64, m128n64 };

struct TileExtent {
  int m, n;
};
constexpr TileExtent extent_of(GemmTile tile) {
  switch (tile) {
    case GemmTile::m128n64:
      return {128, 64};
    case GemmTile::m64n64:
      return {64, 64};
    case GemmTile::m64n32:
      return {64, 32};
    case GemmTile::m32n32:
      break;
  }
  return {32, 32};
}

struct GemmPlan {
  GemmTile tile = GemmTile::m32n32;
  int splits = 1;
};

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// Tiles along m, along n, and all of them in all batches.
constexpr std::int64_t tiles_m(const GemmProblem& problem, GemmTile tile) {
  return ceil_div(problem.m, extent_of(tile).m);
}
constexpr std::int64_t tiles_n(const GemmProblem& problem, GemmTile tile) {
  return ceil_div(problem.n, extent_of(tile).n);
}
constexpr std::int64_t tiles(const GemmProblem& problem, GemmTile tile) {
  return tiles_m(problem, tile) * tiles_n(problem, tile) * problem.batches;
}

/// Group size of a two-level merge of `count` parts: the smallest square's side that holds them; small merges
/// have one level.
constexpr int merge_group_size(std::int64_t count) {
  if (count <= 8) return static_cast<int>(count);
  std::int64_t side = 1;
  while (side * side < count) ++side;
  return static_cast<int>(side);
}
constexpr std::int64_t merge_groups(std::int64_t count) {
  return ceil_div(count, merge_group_size(count));
}

/// What one multiprocessor does in a clock, for the estimate below: datasheet figures of a Hopper GPU where
/// there are any.
struct GemmRates {
  double multiply_adds = 128;  ///< 128 on CUDA cores; on tensor cores what mma.sync reaches, about 600 (tf32)
  double copy_bytes = 24;      ///< from the second-level cache with all multiprocessors reading at once
  double merge_bytes = 64;     ///< the same with few reading
  double step_latency = 200;   ///< clocks that a step takes at least
  double merge_latency = 1500;  ///< of a level of a merge: fence, counter, first load
};

/// Clocks that adding up the splits of a tile takes.
inline double merge_time(GemmTile tile, int splits, const GemmRates& rates) {
  if (splits == 1) return 0;
  const auto [m, n] = extent_of(tile);
  const auto levels = merge_groups(splits) > 1 ? 2 : 1;
  const auto parts = merge_group_size(splits) + (levels == 2 ? merge_groups(splits) : 0);
  return levels * rates.merge_latency +
         static_cast<double>(parts) * m * n * sizeof(float) / rates.merge_bytes;
}
/// The numbers of splits to choose from.
inline constexpr int kSplits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};

/// The cheapest cut by an estimate of its time. Predicted, not measured: a step of a tile takes the longest
/// of its copies, its multiplications and its latency; blocks that share a multiprocessor share its rates;
/// splits cost the merge of their partial sums.
inline GemmPlan plan_gemm(const GemmProblem& problem, int multiprocessors, const GemmRates& rates) {
  constexpr int kDepth = 32;  // kStepDepth of gemm/tile.cuh
  const std::int64_t steps = std::max<std::int64_t>(1, ceil_div(problem.depth, kDepth));
  GemmPlan best;
  double best_time = std::numeric_limits<double>::infinity();
  for (const GemmTile tile : {GemmTile::m128n64, GemmTile::m64n64, GemmTile::m64n32, GemmTile::m32n32}) {
    if (!problem.aligned && tile != GemmTile::m32n32) continue;
    const auto [m, n] = extent_of(tile);
    const double multiply = m * n * kDepth / rates.multiply_adds;
    const double copy = (m + n) * kDepth * sizeof(float) / rates.copy_bytes;
    for (const int splits : kSplits) {
      if (splits > 1 && splits * 2 > steps) break;
      const auto blocks = tiles(problem, tile) * splits;
      const auto steps_each = static_cast<double>(ceil_div(steps, splits));
      const auto sharing = static_cast<double>(ceil_div(blocks, std::max(1, multiprocessors)));
      const double time = steps_each * std::max(sharing * std::max(multiply, copy), rates.step_latency) +
                          merge_time(tile, splits, rates);
      if (time < best_time) {
        best_time = time;
        best = {tile, splits};
      }
    }
  }
  return best;
}

/// Cuts for two products whose blocks share the device in one launch, with tiles of one shape, so that a
/// kernel has both.
struct GemmPairPlan {
  GemmPlan first, second;
};

/// The same estimate for two: the device works through the steps of all blocks, and is done no sooner than
/// the longest block with its latency, and its merge.
inline GemmPairPlan plan_gemm_pair(const GemmProblem& first, const GemmProblem& second, int multiprocessors,
                                   const GemmRates& rates) {
  constexpr int kDepth = 32;
  const bool aligned = first.aligned && second.aligned;
  struct Share {
    double work, longest, merge;  // steps of all blocks and of one; clocks
  };
  const auto share = [&](const GemmProblem& problem, GemmTile tile, int splits) {
    const std::int64_t steps = std::max<std::int64_t>(1, ceil_div(problem.depth, kDepth));
    const auto each = static_cast<double>(ceil_div(steps, splits));
    return Share{each * static_cast<double>(tiles(problem, tile) * splits), each,
                 merge_time(tile, splits, rates)};
  };
  const auto worth_trying = [](const GemmProblem& problem, int splits) {
    return splits == 1 || splits * 2 <= std::max<std::int64_t>(1, ceil_div(problem.depth, kDepth));
  };
  GemmPairPlan best;
  double best_time = std::numeric_limits<double>::infinity();
  for (const GemmTile tile : {GemmTile::m128n64, GemmTile::m64n64, GemmTile::m64n32, GemmTile::m32n32}) {
    if (!aligned && tile != GemmTile::m32n32) continue;
    const auto [m, n] = extent_of(tile);
    const double step =
        std::max(m * n * kDepth / rates.multiply_adds, (m + n) * kDepth * sizeof(float) / rates.copy_bytes);
    for (const int a : kSplits) {
      if (!worth_trying(first, a)) break;
      for (const int b : kSplits) {
        if (!worth_trying(second, b)) break;
        const Share x = share(first, tile, a), y = share(second, tile, b);
        const auto alone = [&](const Share& s) {
          return s.longest * std::max(step, rates.step_latency) + s.merge;
        };
        const double together = (x.work + y.work) / std::max(1, multiprocessors) * step;
        const double time = std::max({together + std::min(x.merge, y.merge), alone(x), alone(y)});
        if (time < best_time) {
          best_time = time;
          best = {{tile, a}, {tile, b}};
        }
      }
    }
  }
  return best;
}

// Memory that a cut needs.

/// Floats of partial sums: every split's tile, then every group's.
constexpr std::size_t split_floats(const GemmProblem& problem, const GemmPlan& plan, int row_sums) {
  if (plan.splits == 1) return 0;
  const auto [m, n] = extent_of(plan.tile);
  const std::int64_t parts = plan.splits + merge_groups(plan.splits);
  return static_cast<std::size_t>(
      parts * (tiles(problem, plan.tile) * m * n + row_sums * tiles_m(problem, plan.tile) * m));
}
/// Counters of the splits' merges: for each tile one a group and one for the root.
constexpr std::size_t split_counters(const GemmProblem& problem, const GemmPlan& plan) {
  if (plan.splits == 1) return 0;
  return static_cast<std::size_t>(tiles(problem, plan.tile) * (merge_groups(plan.splits) + 1));
}

/// Channel statistics over `row_tiles` parts, cut along the channels into `column_tiles`: (mean, squared
/// deviations) of every channel and a count for every column tile, for each part and each group of parts.
constexpr std::size_t stats_floats(std::int64_t row_tiles, std::int64_t column_tiles, std::int64_t columns) {
  return static_cast<std::size_t>((row_tiles + merge_groups(row_tiles)) * (2 * columns + column_tiles));
}
constexpr std::size_t stats_counters(std::int64_t row_tiles, std::int64_t column_tiles) {
  return static_cast<std::size_t>((merge_groups(row_tiles) + 1) * column_tiles);
}

}  // namespace quern::kernels
