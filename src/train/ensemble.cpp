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

std::vector<View> nearest_views(int shifts, bool mirrored) {
  QUERN_REQUIRE(shifts >= 1 && shifts <= kMostShifts, "{} shifts", shifts);
  constexpr int kReach = 2;  // every shift of a smaller distance than (0, 3) is within it
  std::vector<View> views;
  for (int down = -kReach; down <= kReach; ++down)
    for (int right = -kReach; right <= kReach; ++right) views.push_back({down, right});
  std::sort(views.begin(), views.end(), [](View a, View b) {
    const auto key = [](View v) { return std::tuple(v.down * v.down + v.right * v.right, v.down, v.right); };
    return key(a) < key(b);
  });
  views.resize(static_cast<std::size_t>(shifts));
  if (!mirrored) return views;
  std::vector<View> both;
  for (const View view : views) {
    both.push_back(view);
    both.push_back({view.down, view.right, true});
  }
  return both;
}

Split viewed(const Split& images, View view, std::int64_t count) {
  QUERN_REQUIRE(count >= 0 && count <= images.count, "{} of {} images", count, images.count);
  Split result;
  result.count = count;
  result.height = images.height;
  result.width = images.width;
  result.channels = images.channels;
  result.labels.assign(images.labels.begin(), images.labels.begin() + count);
  result.images.assign(static_cast<std::size_t>(count * images.pixels_per_image()), 0);
  const std::int64_t first = std::max<std::int64_t>(0, view.right);
  const std::int64_t last = std::min(images.width, images.width + view.right);
  for (std::int64_t image = 0; image < count; ++image)
    for (std::int64_t y = 0; y < images.height; ++y) {
      const std::int64_t from = y - view.down;
      if (from < 0 || from >= images.height) continue;
      const auto at = [&](std::int64_t row, std::int64_t column) {
        return ((image * images.height + row) * images.width + column) * images.channels;
      };
      for (std::int64_t x = first; x < last; ++x) {
        const std::int64_t column = x - view.right;
        std::copy_n(images.images.begin() + at(from, view.mirrored ? images.width - 1 - column : column),
                    images.channels, result.images.begin() + at(y, x));
      }
    }
  return result;
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
