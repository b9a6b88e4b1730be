#pragma once

/// A checkpoint asked for its opinion of a set of images.

#include <span>
#include <string>

#include "quern/checkpoint.hpp"
#include "quern/dataset.hpp"
#include "quern/session.hpp"
#include "train/ensemble.hpp"

namespace quern::cli {

/// The images themselves.
inline constexpr View kAsTheyAre[] = {{}};

struct Opinion {
  Evaluation evaluation;  ///< with logits; over several views, those of the mean probabilities
  std::string device;     ///< that it was computed on
};

/// Opens a session for the checkpoint, evaluates these views of the first `count` images and closes it.
/// `what` names the images in messages. Every view is also added to `mean`, where one is given.
Opinion ask(const Checkpoint& checkpoint, const SessionOptions& options, const Split& images,
            const char* what, std::int64_t count, std::span<const View> views = kAsTheyAre,
            ProbabilityMean* mean = nullptr);

}  // namespace quern::cli
