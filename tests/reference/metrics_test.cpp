#include <cmath>
#include <limits>

#include "harness.hpp"
#include "quern/error.hpp"

namespace quern::testing {
namespace {

Values forward(const Values& loss, const Values& logits, const Values& labels, const Values& before) {
  const auto n = static_cast<std::int64_t>(loss.size());
  const TensorDesc sums{DType::f64, {4}};
  return Call({{OpKind::metrics, Direction::forward},
               NoAttrs{},
               {{DType::f32, {n}},
                {DType::f32, {n, static_cast<std::int64_t>(logits.size()) / n}},
                {DType::i32, {n}},
                sums},
               {sums}})
      .set("loss", loss)
      .set("logits", logits)
      .set("labels", labels)
      .set("metrics", before)
      .run()
      .get("metrics");
}

TEST(ReferenceMetrics, AddsToWhatIsThere) {
  const Values first = forward({0.5, 1.5}, {1, 2, 4, 3}, {1, 1}, {0, 0, 0, 0});
  EXPECT_EQ(first, (Values{2, 1, 2, 0}));
  EXPECT_EQ(forward({0.25}, {1, 2}, {1}, first), (Values{2.25, 2, 3, 0}));
}

TEST(ReferenceMetrics, TheFirstMaximumIsThePrediction) {
  for (const auto& [label, correct] : std::vector<std::pair<double, double>>{{0, 0}, {1, 1}, {2, 0}, {3, 0}})
    EXPECT_EQ(forward({0}, {1, 7, 7, 2}, {label}, {0, 0, 0, 0})[1], correct) << label;
}

TEST(ReferenceMetrics, NonFiniteLossesAreCountedAndSeen) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  const Values one = forward({infinity, 1}, {1, 2, 1, 2}, {1, 1}, {0, 0, 0, 0});
  EXPECT_EQ(one, (Values{infinity, 2, 2, 1}));
  const Values two = forward({nan}, {1, nan}, {0}, {1, 1, 1, 1});
  EXPECT_TRUE(std::isnan(two[0]));
  EXPECT_EQ(Values(two.begin() + 1, two.end()), (Values{1, 2, 2}));
}

TEST(ReferenceMetrics, ANanAmongTheLogitsIsNoHit) {
  const double nan = std::nan("");
  for (const double label : {0.0, 1.0, 2.0})
    EXPECT_EQ(forward({0}, {1, nan, 3}, {label}, {0, 0, 0, 0})[1], 0) << label;
}

TEST(ReferenceMetrics, RefusesALabelThatIsNoClass) {
  EXPECT_THROW(forward({0}, {1, 2}, {2}, {0, 0, 0, 0}), Error);
}

}  // namespace
}  // namespace quern::testing
