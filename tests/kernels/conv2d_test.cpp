#include <cmath>
#include <limits>

#include "simt/simt.hpp"
#include "tests/kernels/products.hpp"

namespace quern::test {
namespace {

class Conv2d : public ProductTest {
 protected:
  /// Fewer shapes where every access is watched.
  bool thorough() const { return GetParam() != Target::race; }
};

// Channels in whole 16-byte chunks, pixels and filters around the tiles' edges, strides whose phases have
// different taps.
std::vector<Conv2dShape> aligned_shapes(bool thorough) {
  std::vector<Conv2dShape> shapes{conv_shape(1, 6, 5, 8, 16, 3, 3, 1, 1),
                                  conv_shape(1, 7, 7, 16, 24, 3, 3, 2, 1)};
  if (!thorough) return shapes;
  for (const auto& shape :
       {conv_shape(2, 14, 14, 32, 64, 3, 3, 1, 1), conv_shape(1, 8, 8, 8, 72, 1, 1),
        conv_shape(1, 9, 8, 8, 8, 3, 3, 1, 2, 2), conv_shape(3, 11, 9, 8, 40, 2, 3, 3, 2),
        conv_shape(1, 65, 1, 16, 8, 3, 1, 1, 1), conv_shape(1, 13, 13, 8, 136, 5, 5, 2, 2),
        conv_shape(1, 9, 9, 8, 8, 3, 3, 2, 2, 2), conv_shape(2, 10, 10, 8, 8, 1, 1, 3),
        conv_shape(70, 1, 1, 128, 16, 1, 1)})
    shapes.push_back(shape);
  return shapes;
}

// Channels that no vector fits.
std::vector<Conv2dShape> ragged_shapes(bool thorough) {
  std::vector<Conv2dShape> shapes{conv_shape(1, 6, 5, 3, 5, 3, 3, 1, 1), conv_shape(2, 5, 5, 7, 9, 2, 2, 2)};
  if (!thorough) return shapes;
  for (const auto& shape : {conv_shape(1, 1, 1, 1, 1, 1, 1), conv_shape(2, 14, 14, 6, 16, 5, 5),
                            conv_shape(1, 7, 6, 33, 31, 3, 3, 1, 1), conv_shape(1, 8, 8, 1, 32, 3, 3, 1, 1),
                            conv_shape(1, 7, 5, 5, 4, 3, 3, 3, 1, 2), conv_shape(33, 1, 1, 31, 65, 1, 1),
                            conv_shape(1, 4, 4, 2, 3, 5, 5, 1, 2)})
    shapes.push_back(shape);
  return shapes;
}

// Integers up to 3 are exact in every format, and so is every sum of their products.
TEST_P(Conv2d, Fp32IsExactOnIntegers) {
  for (const auto& shape : aligned_shapes(thorough())) check_all_plans(fp32(), shape, true);
  for (const auto& shape : ragged_shapes(thorough())) check_all_plans(fp32(), shape, true);
}
TEST_P(Conv2d, Tf32IsExactOnIntegers) {
  for (const auto& shape : aligned_shapes(thorough())) check_all_plans(tf32(), shape, true);
  for (const auto& shape : ragged_shapes(thorough())) check_all_plans(tf32(), shape, true);
}
TEST_P(Conv2d, Bf16RoundsExactSumsOnceOnIntegers) {
  for (const auto& shape : aligned_shapes(thorough())) check_all_plans(bf16(), shape, true);
  for (const auto& shape : ragged_shapes(thorough())) check_all_plans(bf16(), shape, true);
}

TEST_P(Conv2d, BothGradientsInOneLaunchHaveTheBitsOfTwo) {
  std::vector<Conv2dShape> shapes{conv_shape(1, 6, 5, 8, 16, 3, 3, 1, 1), conv_shape(2, 5, 5, 7, 9, 2, 2, 2)};
  if (thorough())
    for (const auto& shape :
         {conv_shape(2, 14, 14, 16, 24, 3, 3, 1, 1), conv_shape(1, 13, 13, 8, 72, 5, 5, 2, 2),
          // bf16: dx could be copied in chunks, dw could not
          conv_shape(1, 9, 9, 4, 8, 3, 3, 1, 1), conv_shape(70, 1, 1, 128, 16, 1, 1)})
      shapes.push_back(shape);
  for (const auto& shape : shapes)
    for (const Variant& variant : {fp32(), tf32(), bf16()}) {
      check_backward_pairs(variant, shape);
      if (HasFatalFailure()) return;
    }
}

TEST_P(Conv2d, RandomOperandsStayWithinTheFormatsError) {
  const auto shape =
      thorough() ? conv_shape(2, 12, 12, 16, 40, 3, 3, 1, 1) : conv_shape(1, 5, 5, 8, 8, 3, 3, 1, 1);
  check_all_plans(fp32(), shape, false);
  check_all_plans(tf32(), shape, false);
  check_all_plans(bf16(), shape, false);
}

TEST_P(Conv2d, GeneralServesGroupsAndBothFormats) {
  std::vector<Conv2dShape> shapes{conv_shape(1, 6, 6, 6, 9, 3, 3, 1, 1, 1, 3),
                                  conv_shape(2, 5, 5, 8, 8, 3, 3, 2, 1, 1, 8)};
  if (thorough())
    for (const auto& shape :
         {conv_shape(2, 9, 7, 4, 12, 3, 3, 2, 2, 2, 2), conv_shape(1, 14, 14, 3, 5, 13, 11, 1, 6),
          conv_shape(1, 1, 1, 1, 1, 1, 1), conv_shape(2, 8, 8, 40, 8, 3, 3, 1, 1)})
      shapes.push_back(shape);
  for (const auto& shape : shapes)
    for (const bool bf16_activations : {false, true})
      for (const bool options : {false, true})
        check(general(bf16_activations), Convolution(shape, true, bf16_activations), {}, {}, {}, true,
              options);
}

TEST_P(Conv2d, GeneralTakesMixedFormats) {
  const Convolution c(conv_shape(1, 5, 5, 2, 3, 3, 3, 1, 1), true);
  const Activation x(device(), c.x, true), y(device(), c.y_size(), false);
  const DeviceArray<float> w(device(), c.w), bias(device(), c.bias);
  kernels::Conv2dForwardArgs args;
  args.shape = c.shape;
  args.x = x.data(), args.w = w.data(), args.bias = bias.data(), args.y = y.data();
  args.x_bf16 = true;
  QUERN_RUN(conv2d_forward_general, args);
  expect_near(y.host(), c.y, {}, "bf16 to fp32");
}

// Few channels: runs that end inside a row, filters that are no multiple of four, one block and many.
TEST_P(Conv2d, DirectIsExactOnIntegers) {
  std::vector<Conv2dShape> shapes{conv_shape(1, 7, 6, 1, 8, 3, 3, 1, 1),
                                  conv_shape(1, 6, 5, 2, 6, 3, 3, 2, 1)};
  if (thorough())
    for (const auto& shape :
         {conv_shape(2, 28, 28, 1, 32, 3, 3, 1, 1), conv_shape(1, 28, 28, 1, 6, 5, 5, 1, 2),
          conv_shape(2, 9, 10, 3, 40, 3, 3), conv_shape(1, 11, 9, 4, 33, 3, 3, 1, 1, 2),
          conv_shape(2, 8, 8, 1, 1, 1, 1), conv_shape(1, 10, 10, 2, 70, 2, 5, 3, 2),
          conv_shape(1, 1, 1, 1, 16, 3, 3, 1, 1), conv_shape(3, 26, 26, 1, 16, 3, 3)})
      shapes.push_back(shape);
  for (const auto& shape : shapes)
    for (const bool bf16_activations : {false, true})
      for (const int splits : {1, 3, 13}) {
        Variant variant = direct(bf16_activations);
        if (!conv2d_direct_unrolled(shape)) variant.backward_weights = nullptr;
        const auto parts =
            static_cast<int>(std::min<std::int64_t>(splits, kernels::direct_pixel_tiles(shape)));
        check(variant, Convolution(shape, true, bf16_activations), {}, {}, {kernels::GemmTile::m32n32, parts},
              true, splits != 3);
      }
}

TEST_P(Conv2d, DirectIsWithinFp32Error) {
  const auto shape = conv_shape(thorough() ? 4 : 1, 12, 12, 1, 32, 3, 3, 1, 1);
  check(direct(false), Convolution(shape, false), {}, {}, {kernels::GemmTile::m32n32, 2}, false, true);
}

// A mean far above the deviation: squares of the values would lose the variance altogether.
TEST_P(Conv2d, StatisticsSurviveALargeMean) {
  const auto check_stats = [&](const Variant& variant, const Conv2dShape& shape, kernels::GemmPlan plan) {
    Convolution c(shape, false);
    for (float& b : c.bias) b = 1000.0f;
    const Forward got = forward(variant, c, plan, true, false, true);
    const auto expected = Convolution::stats_of(got.y, shape.k);
    for (std::size_t k = 0; k < static_cast<std::size_t>(shape.k); ++k) {
      ASSERT_NEAR(got.stats[k], expected[k], 3e-7 * 1000) << variant.name << ", mean of " << k;
      const std::size_t v = static_cast<std::size_t>(shape.k) + k;
      ASSERT_NEAR(got.stats[v], expected[v], 1e-3 * expected[v]) << variant.name << ", variance of " << k;
    }
  };
  const int n = thorough() ? 6 : 1;
  check_stats(fp32(), conv_shape(n, 10, 10, 8, 40, 3, 3, 1, 1), {kernels::GemmTile::m32n32, 1});
  check_stats(fp32(), conv_shape(n, 10, 10, 8, 40, 3, 3, 1, 1), {kernels::GemmTile::m64n64, 2});
  check_stats(direct(false), conv_shape(n, 10, 10, 1, 40, 3, 3, 1, 1), {});
}

TEST_P(Conv2d, NaNInTheInputIsSeen) {
  const auto shape = conv_shape(1, 6, 6, 8, 8, 3, 3, 1, 1);
  Convolution c(shape, true);
  c.x[0] = std::numeric_limits<float>::quiet_NaN();
  for (const Variant& variant : {fp32(), tf32(), bf16(), general(false)}) {
    const Forward got = forward(variant, c, {}, true, true, false);
    for (std::size_t k = 0; k < 8; ++k) EXPECT_TRUE(std::isnan(got.y[k])) << variant.name << ", filter " << k;
    EXPECT_FALSE(std::isnan(got.y.back())) << variant.name;
  }
}

TEST_P(Conv2d, SameBitsTwiceAndUnderEverySchedule) {
  if (GetParam() == Target::cuda)
    GTEST_SKIP() << "a GPU chooses its own schedule; `quern check` repeats every case";
  const auto shape = conv_shape(2, 12, 12, 8, 40, 3, 3, 1, 1);
  const Convolution c(shape, false);
  const Convolution few(conv_shape(2, 12, 12, 1, 40, 3, 3, 1, 1), false);
  const kernels::GemmPlan whole{kernels::GemmTile::m32n32, 1}, split{kernels::GemmTile::m32n32, 9};
  const auto everything = [&] {
    std::vector<float> all;
    const auto append = [&](const std::vector<float>& values) {
      all.insert(all.end(), values.begin(), values.end());
    };
    for (const Variant& variant : {fp32(), tf32()}) {
      const Forward f = forward(variant, c, whole, true, true, true);
      append(f.y), append(f.stats);
      append(backward_data(variant, c, {kernels::GemmTile::m32n32, 3}, true));
      const Weights w = backward_weights(variant, c, split, true);
      append(w.dw), append(w.dbias);
    }
    const Forward f = forward(direct(false), few, {}, true, true, true);
    append(f.y), append(f.stats);
    const Weights w = backward_weights(direct(false), few, {kernels::GemmTile::m32n32, 3}, true);
    append(w.dw), append(w.dbias);
    return all;
  };
  const auto first = everything();
  for (const auto order : {simt::Order::reverse, simt::Order::random}) {
    simt::Config config = simt::config();
    config.block_order = config.thread_order = order;
    config.workers = order == simt::Order::random ? 2 : 1;
    config.seed = 7;
    const simt::ScopedConfig scope(config);
    const auto again = everything();
    ASSERT_EQ(first.size(), again.size());
    ASSERT_EQ(std::memcmp(first.data(), again.data(), first.size() * sizeof(float)), 0);
  }
}

QUERN_FOR_ALL_TARGETS(Conv2d);

// --- Plans
// ----------------------------------------------------------------------------------------------------

TEST(GemmPlan, SplitsOnlyWhatHasDepthAndFillsTheDevice) {
  const kernels::GemmRates tensor_cores{600};
  const auto blocks = [](const kernels::GemmProblem& problem, kernels::GemmPlan plan) {
    return kernels::tiles(problem, plan.tile) * plan.splits;
  };
  // The seed nets' convolution at batch 64 has enough pixels; its weights' gradient and the first dense layer
  // have depth.
  const auto conv = conv_shape(64, 14, 14, 32, 64, 3, 3, 1, 1);
  const auto forward = conv2d_forward_problem(conv, 4);
  const auto forward_plan = kernels::plan_gemm(forward, 132, tensor_cores);
  EXPECT_EQ(forward_plan.splits, 1);
  EXPECT_GE(blocks(forward, forward_plan), 90);
  const auto weights = conv2d_backward_weights_problem(conv, 4);
  const auto weights_plan = kernels::plan_gemm(weights, 132, tensor_cores);
  EXPECT_GT(weights_plan.splits, 4);
  EXPECT_GE(blocks(weights, weights_plan), 90);
  const kernels::GemmProblem dense{64, 128, 3136, 1, true};
  const auto dense_plan = kernels::plan_gemm(dense, 132, tensor_cores);
  EXPECT_GT(dense_plan.splits, 4);
  EXPECT_GE(blocks(dense, dense_plan), 90);
  // A shallow sum is never split, and unaligned operands have one tile.
  EXPECT_EQ(kernels::plan_gemm({64, 10, 32, 1, true}, 132, tensor_cores).splits, 1);
  const auto ragged = kernels::plan_gemm({5000, 100, 3000, 1, false}, 132, tensor_cores);
  EXPECT_EQ(ragged.tile, kernels::GemmTile::m32n32);
}

TEST(GemmPlan, APairSharesATileAndFillsTheDevice) {
  for (const int batch : {16, 64, 1024}) {
    const auto conv = conv_shape(batch, 14, 14, 32, 64, 3, 3, 1, 1);
    const auto to_data = conv2d_backward_data_problem(conv, 4),
               to_weights = conv2d_backward_weights_problem(conv, 4);
    const auto plan = kernels::plan_gemm_pair(to_data, to_weights, 132, {600});
    EXPECT_EQ(plan.first.tile, plan.second.tile);
    EXPECT_GT(plan.second.splits, 4) << "the weights' gradient has 9 tiles at most and much depth";
    const auto blocks = kernels::tiles(to_data, plan.first.tile) * plan.first.splits +
                        kernels::tiles(to_weights, plan.second.tile) * plan.second.splits;
    EXPECT_GE(blocks, 132);
  }
  // Where one of them is not aligned, neither is treated as such.
  kernels::GemmProblem ragged{64, 128, 64, 1, false}, aligned{64, 128, 64, 1, true};
  EXPECT_EQ(kernels::plan_gemm_pair(aligned, ragged, 132, {}).first.tile, kernels::GemmTile::m32n32);
}

TEST(GemmPlan, MergesHaveAtMostTwoLevelsOfAboutEqualSize) {
  for (const int count : {1, 2, 8, 9, 10, 16, 17, 64, 100, 6272}) {
    const int size = kernels::merge_group_size(count);
    const auto groups = kernels::merge_groups(count);
    EXPECT_GE(size * groups, count);
    EXPECT_LT((groups - 1) * size, count) << "the last group has a member";
    if (count <= 8)
      EXPECT_EQ(groups, 1);
    else
      EXPECT_LE(groups, size);
  }
}

}  // namespace
}  // namespace quern::test
