#pragma once

/// Several opinions of the same images made one: the mean of class probabilities over networks and over
/// shifted and mirrored views of every image.

#include <cstdint>
#include <span>
#include <vector>

#include "quern/dataset.hpp"
#include "quern/session.hpp"

namespace quern {

/// A view of an image: the image, or its mirror image (left to right), moved by whole pixels. What comes in
/// from outside has the value 0, before the normalisation, as with Augment.
struct View {
  int down = 0, right = 0;
  bool mirrored = false;
  bool operator==(const View&) const = default;
};

inline constexpr int kMostShifts = 25;

/// The first `shifts` views (1 to kMostShifts) in the order of their distance: the image itself; up, left,
/// right and down by one; the four diagonals by one; the four sides by two; the eight knight's moves; the
/// four diagonals by two. Within a distance the order is from top to bottom and from left to right. 1, 5, 9,
/// 13, 21 and 25 are symmetric sets. With `mirrored`, each is followed by the mirror image moved as far.
std::vector<View> nearest_views(int shifts, bool mirrored);

/// That view of the first `count` images, with their labels.
Split viewed(const Split& images, View view, std::int64_t count);

/// The mean of softmax probabilities, kept as logarithms in double, so that it neither under- nor overflows.
class ProbabilityMean {
 public:
  ProbabilityMean(std::int64_t images, std::int64_t classes);

  /// One more opinion; all count the same. `logits` is [images, classes].
  void add(std::span<const float> logits);

  /// What the mean says of the images: `logits` holds the logarithms of the mean probabilities, loss and
  /// accuracy are those of the mean. `labels` has one for each image, or more.
  Evaluation evaluate(std::span<const std::uint8_t> labels) const;

 private:
  std::int64_t images_, classes_;
  int opinions_ = 0;
  std::vector<double> log_sum_;  ///< of the probabilities added so far
};

}  // namespace quern
