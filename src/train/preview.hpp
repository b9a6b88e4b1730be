#pragma once

/// What the network sees of its training images: the reference's input_batch, run as a training run would.

#include <cstdint>
#include <span>
#include <vector>

#include "quern/checkpoint.hpp"
#include "quern/dataset.hpp"
#include "quern/image.hpp"
#include "quern/model_spec.hpp"

namespace quern {

class TrainingView {
 public:
  /// `images` must outlive it. Throws input errors: a batch above the training images, images that the model
  /// does not take.
  TrainingView(const ModelSpec& spec, const Split& images, const RunSettings& run);

  /// In ascending order.
  std::span<const std::uint32_t> training_images() const noexcept { return partition_.train; }
  /// Image `index`, one of training_images(), exactly as the run sees it in `epoch` (from 0): its place in
  /// the shuffled order says by which step and with which random numbers. f32 [height, width, channels],
  /// normalised.
  std::vector<float> image(std::uint32_t index, std::uint32_t epoch);
  /// The same, with the normalisation undone: 0 to 255, rounded.
  std::vector<std::uint8_t> pixels(std::uint32_t index, std::uint32_t epoch);

 private:
  const ModelSpec& spec_;
  const Split& images_;
  std::uint64_t seed_;
  Partition partition_;
  std::int64_t batch_ = 0, steps_per_epoch_ = 0;
  std::vector<std::uint32_t> order_;  ///< of the epoch asked for last
  std::int64_t order_epoch_ = -1;
};

struct SheetOptions {
  int images = 10;  ///< rows: the first images of every class in turn, then ordered by class
  int draws = 8;    ///< columns beside the original: what the epochs 1, 2, .. of the run see
  int zoom = 2;     ///< a pixel's side
};

/// Rows of images, the original on the left, then its draws. Images of three channels give a sheet in
/// colour, of all others the first channel is shown. Throws an input error for options out of range.
RgbImage preview_sheet(TrainingView& view, const Split& images, const SheetOptions& options);

}  // namespace quern
