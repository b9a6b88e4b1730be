// One-pass statistics on data that defeat E[x^2] - E[x]^2.

#include "providers/onednn/moments.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "quern/philox.hpp"
#include "tests/onednn/harness.hpp"

namespace quern::onednn {
namespace {

double noise(std::size_t i) {
  return 2.0 * static_cast<double>(uniform_from_u32(philox_u32(5, RandomPurpose::test, 0, 0, i))) - 1.0;
}

struct Signal {
  const char* name;
  double (*value)(std::size_t row, std::size_t rows);
};

void PrintTo(const Signal& signal, std::ostream* out) {
  *out << signal.name;
}

const Signal kSignals[] = {
    {"plain", [](std::size_t row, std::size_t) { return noise(row); }},
    {"far_from_zero", [](std::size_t row, std::size_t) { return 3e4 + noise(row); }},
    {"outlier_first", [](std::size_t row, std::size_t) { return row == 0 ? 1e4 : noise(row); }},
    {"outlier_last", [](std::size_t row, std::size_t rows) { return row + 1 == rows ? 1e4 : noise(row); }},
    {"step", [](std::size_t row, std::size_t rows) { return (row < rows / 2 ? 0.0 : 5e3) + noise(row); }},
    {"drift",
     [](std::size_t row, std::size_t rows) {
       return 1e3 * static_cast<double>(row) / static_cast<double>(rows) + noise(row);
     }},
    {"constant", [](std::size_t, std::size_t) { return 7.25; }},
};

class MomentsOf : public ::testing::TestWithParam<std::tuple<Signal, int, int>> {};

TEST_P(MomentsOf, MatchTwoPassesInDouble) {
  const auto& [signal, channels, parts] = GetParam();
  constexpr std::size_t kRows = 5003;
  const auto width = static_cast<std::size_t>(channels);
  std::vector<float> x(kRows * width);
  for (std::size_t row = 0; row < kRows; ++row)
    for (std::size_t c = 0; c < width; ++c)
      x[row * width + c] = static_cast<float>(signal.value(row, kRows) * (1.0 + static_cast<double>(c)));

  for (const Isa isa : quern::testing::machine_isas()) {
    const quern::testing::ScopedIsa scoped(isa);
    const std::size_t step = Moments::bytes(channels);
    std::vector<std::byte> memory(step * static_cast<std::size_t>(parts) + 64);
    for (int part = 0; part < parts; ++part) {
      const Range rows = share(kRows, part, parts);
      Moments moments(memory.data() + step * static_cast<std::size_t>(part), channels);
      moments.reset();
      EXPECT_TRUE(moments.empty());
      moments.add(kernels(), x.data() + rows.begin * channels, rows.size());
      EXPECT_FALSE(moments.empty());
    }
    for (std::size_t c = 0; c < width; ++c) {
      double mean = 0, variance = 0;
      for (std::size_t row = 0; row < kRows; ++row) mean += static_cast<double>(x[row * width + c]);
      mean /= kRows;
      for (std::size_t row = 0; row < kRows; ++row)
        variance += std::pow(static_cast<double>(x[row * width + c]) - mean, 2);
      variance /= kRows;
      const auto result =
          Moments::combine(memory.data(), step, parts, channels, static_cast<std::int64_t>(c));
      EXPECT_NEAR(result.mean, mean, 2e-7 * std::abs(mean) + 1e-6 * std::sqrt(variance));
      EXPECT_NEAR(result.variance, variance, 1e-5 * variance + 1e-12);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Signals, MomentsOf,
                         ::testing::Combine(::testing::ValuesIn(kSignals), ::testing::Values(1, 5, 32, 37),
                                            ::testing::Values(1, 3)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "_c" +
                                  std::to_string(std::get<1>(test.param)) + "_parts" +
                                  std::to_string(std::get<2>(test.param));
                         });

TEST(MomentsParts, ThatSawNothingDoNotCount) {
  constexpr int kChannels = 3;
  const std::size_t step = Moments::bytes(kChannels);
  std::vector<std::byte> memory(2 * step + 64);
  Moments first(memory.data(), kChannels), second(memory.data() + step, kChannels);
  first.reset();
  second.reset();
  const std::vector<float> rows = {1, 2, 3, 3, 2, 1};
  second.add(kernels(), rows.data(), 2);
  const auto result = Moments::combine(memory.data(), step, 2, kChannels, 0);
  EXPECT_EQ(result.mean, 2.0);
  EXPECT_EQ(result.variance, 1.0);
}

}  // namespace
}  // namespace quern::onednn
