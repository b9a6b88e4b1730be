// Convolutions: the implementations against each other, bit for bit where integers and the algorithm allow
// it, and statistics.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "check/descs.hpp"
#include "tests/onednn/harness.hpp"

namespace quern::testing {
namespace {

using check::conv2d_desc;
using check::ImageShape;

Conv2dAttrs same3x3() {
  Conv2dAttrs attrs;
  attrs.window = {3, 3, 1, 1, 1, 1, 1, 1};
  return attrs;
}

struct Shapes {
  const char* name;
  ImageShape shape;
  Conv2dAttrs attrs;
};

void PrintTo(const Shapes& shapes, std::ostream* out) {
  *out << shapes.name;
}

/// Shapes at the edges of tiles, panels, bands and vectors.
std::vector<Shapes> shapes() {
  std::vector<Shapes> list;
  list.reserve(32);  // g++ 12 sees an overflow in the growth of a list of these
  const auto add = [&](const char* name, const ImageShape& shape, auto change) {
    Conv2dAttrs attrs = same3x3();
    change(attrs);
    list.push_back({name, shape, attrs});
  };
  const auto plain = [](Conv2dAttrs&) {};
  add("seed_bn_conv1", {3, 28, 28, 1, 32}, plain);
  add("seed_bn_conv2", {3, 14, 14, 32, 64}, plain);
  add("odd_image", {2, 13, 11, 17, 19}, plain);
  add("one_pixel", {5, 1, 1, 16, 16}, plain);
  add("two_rows", {1, 2, 9, 33, 65}, plain);
  add("wide_channels", {1, 5, 6, 130, 70}, plain);
  add("many_taps", {1, 4, 5, 230, 16}, plain);  // 2070: three blocks of taps
  add("no_padding", {2, 9, 9, 16, 48}, [](Conv2dAttrs& a) { a.window = {3, 3, 1, 1, 0, 0, 0, 0}; });
  add("lopsided_padding", {2, 6, 7, 16, 20}, [](Conv2dAttrs& a) { a.window = {3, 3, 1, 1, 0, 2, 1, 0}; });
  add("padding_beyond_the_window", {1, 4, 4, 16, 16},
      [](Conv2dAttrs& a) { a.window = {3, 3, 1, 1, 4, 3, 4, 5}; });
  add("stride_2", {2, 9, 10, 5, 6}, [](Conv2dAttrs& a) { a.window = {3, 3, 2, 2, 1, 1, 1, 1}; });
  add("stride_beyond_the_window", {2, 10, 11, 4, 7},
      [](Conv2dAttrs& a) { a.window = {2, 1, 3, 4, 0, 0, 0, 0}; });
  add("dilated", {1, 12, 9, 6, 5}, [](Conv2dAttrs& a) { a.dilation_h = 2, a.dilation_w = 3; });
  add("grouped", {2, 6, 6, 12, 20}, [](Conv2dAttrs& a) { a.groups = 4; });
  add("wide_groups", {2, 6, 6, 36, 60}, [](Conv2dAttrs& a) { a.groups = 2; });
  add("depthwise", {2, 7, 5, 18, 18}, [](Conv2dAttrs& a) { a.groups = 18; });
  add("large_image", {1, 70, 90, 16, 16}, plain);  // several bands
  add("tiles_of_4", {7, 28, 27, 16, 24}, plain);
  add("ragged_tiles_of_4", {3, 11, 13, 17, 19}, plain);
  add("ragged_tiles_of_5", {7, 13, 10, 18, 33}, plain);  // several images a unit, not the same number in all
  add("tiles_of_4_without_padding", {9, 9, 13, 16, 48},
      [](Conv2dAttrs& a) { a.window = {3, 3, 1, 1, 0, 0, 0, 0}; });
  return list;
}

class ConvShapes : public ::testing::TestWithParam<Shapes> {};

/// Every implementation that serves `desc`, on every instruction set and on 1 to 3 threads, gives the same
/// outputs: these bits where it claims to be exact, else to a few units in the last place of the largest.
void expect_agreement(const OpDesc& desc) {
  std::vector<std::byte> expected;
  std::string expected_by;
  const auto floats = [](std::span<const std::byte> bytes) {
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  };
  for (const bool exact : {true, false}) {
    for (const onednn::Isa isa : machine_isas()) {
      const ScopedIsa scoped(isa);
      for (const Implementation& candidate : onednn_registry().candidates(desc.op)) {
        if (candidate.exact != exact || candidate.refusal(desc, DeviceInfo{})) continue;
        for (const int threads : {1, 2, 3}) {
          const auto bytes = Call(desc, candidate, threads).fill(7, true).run().output_bytes();
          const std::string by = candidate.full_name() + " " + to_string(isa) + " " + std::to_string(threads);
          if (expected.empty()) {
            expected = bytes;
            expected_by = by;
          }
          if (exact) {
            EXPECT_TRUE(bytes == expected) << by << " differs from " << expected_by;
            continue;
          }
          const auto values = floats(bytes), wanted = floats(expected);
          ASSERT_EQ(values.size(), wanted.size());
          std::size_t begin = 0;
          for (const TensorDesc& output : desc.outputs) {
            const std::size_t end = begin + static_cast<std::size_t>(output.shape.elements());
            ASSERT_LE(end, wanted.size());
            float largest = 0;
            for (std::size_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(wanted[i]));
            for (std::size_t i = begin; i < end; ++i)
              ASSERT_NEAR(values[i], wanted[i], 2e-5f * largest)
                  << i << " of " << by << " differs from " << expected_by;
            begin = end;
          }
          ASSERT_EQ(begin, wanted.size());
        }
      }
    }
  }
}

TEST_P(ConvShapes, AllImplementationsAgreeOnIntegers) {
  for (const Direction direction :
       {Direction::forward, Direction::backward_data, Direction::backward_weights}) {
    SCOPED_TRACE(to_string(direction));
    Conv2dAttrs attrs = GetParam().attrs;
    attrs.bias = direction != Direction::backward_data;
    attrs.relu = direction == Direction::forward;
    attrs.mask = direction == Direction::backward_data;
    expect_agreement(conv2d_desc(direction, GetParam().shape, attrs));
  }
}

TEST_P(ConvShapes, StatisticsAreThoseOfTheOutput) {
  Conv2dAttrs attrs = GetParam().attrs;
  attrs.bias = attrs.relu = attrs.stats = true;
  const OpDesc desc = conv2d_desc(Direction::forward, GetParam().shape, attrs);
  for (const Implementation& candidate : onednn_registry().candidates(desc.op)) {
    if (candidate.refusal(desc, DeviceInfo{})) continue;
    Call run(desc, candidate, 2);
    run.fill(3).run();
    const auto y = run.operand("y"), stats = run.operand("stats");
    const auto channels = static_cast<std::size_t>(GetParam().shape.k), rows = y.size() / channels;
    for (std::size_t c = 0; c < channels; ++c) {
      double mean = 0, variance = 0;
      for (std::size_t r = 0; r < rows; ++r) mean += static_cast<double>(y[r * channels + c]);
      mean /= static_cast<double>(rows);
      for (std::size_t r = 0; r < rows; ++r)
        variance += std::pow(static_cast<double>(y[r * channels + c]) - mean, 2);
      variance /= static_cast<double>(rows);
      EXPECT_NEAR(static_cast<double>(stats[c]), mean, 1e-6 * (1 + std::abs(mean))) << candidate.name << c;
      EXPECT_NEAR(static_cast<double>(stats[channels + c]), variance, 2e-5 * variance + 1e-12)
          << candidate.name << c;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Conv, ConvShapes, ::testing::ValuesIn(shapes()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(ConvChoice, WinogradServesTheLayersItPaysFor) {
  const auto chosen = [](const ImageShape& shape, const Conv2dAttrs& attrs) {
    return first_choice(conv2d_desc(Direction::forward, shape, attrs)).name;
  };
  EXPECT_EQ(chosen({64, 14, 14, 32, 64}, same3x3()), "winograd_5x5");
  EXPECT_EQ(chosen({64, 28, 28, 32, 32}, same3x3()), "winograd_4x4");
  EXPECT_EQ(chosen({64, 7, 7, 128, 128}, same3x3()), "winograd_4x4");
  EXPECT_EQ(chosen({64, 6, 6, 32, 64}, same3x3()), "winograd");
  EXPECT_EQ(chosen({1, 14, 14, 32, 64}, same3x3()), "winograd");
  EXPECT_EQ(chosen({64, 28, 28, 1, 32}, same3x3()), "direct");
  Conv2dAttrs strided = same3x3();
  strided.window.stride_h = 2;
  EXPECT_EQ(chosen({64, 14, 14, 32, 64}, strided), "direct");
}

TEST(ConvChoice, WinogradSaysWhyItRefuses) {
  const auto reason = [](const ImageShape& shape, const Conv2dAttrs& attrs, const char* name = "winograd") {
    const OpDesc desc = conv2d_desc(Direction::forward, shape, attrs);
    return find_implementation(desc.op, name).refusal(desc, DeviceInfo{}).value_or("");
  };
  Conv2dAttrs attrs = same3x3();
  EXPECT_EQ(reason({1, 9, 9, 32, 32}, attrs), "");
  EXPECT_EQ(reason({1, 9, 9, 15, 32}, attrs), "needs at least 16 input and output channels");
  attrs.groups = 2;
  EXPECT_EQ(reason({1, 9, 9, 32, 32}, attrs), "needs one group");
  attrs = same3x3();
  attrs.dilation_w = 2;
  EXPECT_EQ(reason({1, 9, 9, 32, 32}, attrs), "needs dilation 1");
  attrs = same3x3();
  attrs.window.stride_w = 2;
  EXPECT_EQ(reason({1, 9, 9, 32, 32}, attrs), "needs stride 1");
  attrs.window = {5, 5, 1, 1, 2, 2, 2, 2};
  EXPECT_EQ(reason({1, 9, 9, 32, 32}, attrs), "needs a 3x3 filter");
  attrs = same3x3();
  EXPECT_EQ(reason({1, 15, 15, 32, 32}, attrs, "winograd_4x4"),
            "needs at least 256 output pixels in a batch");
  EXPECT_EQ(reason({64, 6, 6, 32, 32}, attrs, "winograd_4x4"),
            "saves less than a tenth of the multiplications of smaller tiles");
  EXPECT_EQ(reason({64, 28, 28, 32, 32}, attrs, "winograd_5x5"),
            "saves less than a tenth of the multiplications of smaller tiles");
}

}  // namespace
}  // namespace quern::testing
