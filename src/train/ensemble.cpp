#include "train/ensemble.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "quern/error.hpp"

namespace quern {
namespace {

constexpr double kNothing = -std::numeric_limits<double>::infinity();  // log 0

/// log(exp(a) + exp(b)).
double log_add(double a, double b) {
  const double larger = std::max(a, b), smaller = std::min(a, b);
  return larger == kNothing ? kNothing : larger + std::log1p(std::exp(smaller - larger));
}

}  // namespace

std::vector<PixelShift> view_shifts(int count) {
  QUERN_REQUIRE(count >= 1 && count <= kMostViews, "{} views", count);
  constexpr int kReach = 2;  // every shift of a smaller distance than (0, 3) is within it
  std::vector<PixelShift> shifts;
  for (int down = -kReach; down <= kReach; ++down)
    for (int right = -kReach; right <= kReach; ++right) shifts.push_back({down, right});
  std::sort(shifts.begin(), shifts.end(), [](PixelShift a, PixelShift b) {
    const auto key = [](PixelShift s) {
      return std::tuple(s.down * s.down + s.right * s.right, s.down, s.right);
    };
    return key(a) < key(b);
  });
  shifts.resize(static_cast<std::size_t>(count));
  return shifts;
}

Split shifted(const Split& images, PixelShift shift, std::int64_t count) {
  QUERN_REQUIRE(count >= 0 && count <= images.count, "{} of {} images", count, images.count);
  Split view;
  view.count = count;
  view.height = images.height;
  view.width = images.width;
  view.channels = images.channels;
  view.labels.assign(images.labels.begin(), images.labels.begin() + count);
  view.images.assign(static_cast<std::size_t>(count * images.pixels_per_image()), 0);
  // Of a row, the part that stays inside is one stretch of bytes.
  const std::int64_t first = std::max<std::int64_t>(0, shift.right);
  const std::int64_t last = std::min(images.width, images.width + shift.right);
  if (first >= last) return view;
  for (std::int64_t image = 0; image < count; ++image)
    for (std::int64_t y = 0; y < images.height; ++y) {
      const std::int64_t from = y - shift.down;
      if (from < 0 || from >= images.height) continue;
      const auto at = [&](std::int64_t row, std::int64_t column) {
        return ((image * images.height + row) * images.width + column) * images.channels;
      };
      std::copy_n(images.images.begin() + at(from, first - shift.right), (last - first) * images.channels,
                  view.images.begin() + at(y, first));
    }
  return view;
}

ProbabilityMean::ProbabilityMean(std::int64_t images, std::int64_t classes)
    : images_(images), classes_(classes), log_sum_(static_cast<std::size_t>(images * classes), kNothing) {}

void ProbabilityMean::add(std::span<const float> logits) {
  QUERN_REQUIRE(logits.size() == log_sum_.size(), "{} logits for {}", logits.size(), log_sum_.size());
  const auto width = static_cast<std::size_t>(classes_);
  for (std::size_t row = 0; row < logits.size(); row += width) {
    const auto in = logits.subspan(row, width);
    const double largest = *std::max_element(in.begin(), in.end());
    double sum = 0;
    for (const float logit : in) sum += std::exp(static_cast<double>(logit) - largest);
    const double log_all = largest + std::log(sum);
    for (std::size_t i = 0; i < width; ++i)
      log_sum_[row + i] = log_add(log_sum_[row + i], static_cast<double>(in[i]) - log_all);
  }
  ++opinions_;
}

Evaluation ProbabilityMean::evaluate(std::span<const std::uint8_t> labels) const {
  QUERN_REQUIRE(opinions_ > 0 && images_ > 0, "the mean of nothing");
  QUERN_REQUIRE(labels.size() >= static_cast<std::size_t>(images_), "{} labels for {} images", labels.size(),
                images_);
  Evaluation result;
  result.count = images_;
  result.classes = classes_;
  result.logits.reserve(log_sum_.size());
  const double log_opinions = std::log(opinions_);
  for (const double sum : log_sum_) result.logits.push_back(static_cast<float>(sum - log_opinions));
  double loss = 0;
  for (std::int64_t image = 0; image < images_; ++image) {
    const auto begin = result.logits.begin() + image * classes_;
    const std::int64_t label = labels[static_cast<std::size_t>(image)];
    QUERN_REQUIRE(label < classes_, "class {} of {}", label, classes_);
    loss -= log_sum_[static_cast<std::size_t>(image * classes_ + label)] - log_opinions;
    result.correct += std::max_element(begin, begin + classes_) - begin == label ? 1 : 0;
  }
  result.loss = loss / static_cast<double>(images_);
  result.accuracy = static_cast<double>(result.correct) / static_cast<double>(images_);
  return result;
}

}  // namespace quern
