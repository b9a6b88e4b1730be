#pragma once

/// Operands that are there, or are gathered from the dataset by the order.

#include <vector>

#include "providers/reference/view.hpp"

namespace quern::reference {

/// Dataset index of every sample of a batch. The next operands are the order and the step.
template <class Real>
std::vector<Index> sample_indices(Operands<Real>& operands, Index samples, Index dataset) {
  const Index order_length = operands.next_input().shape[0];
  const auto* const order = operands.template raw_input<std::uint32_t>();
  const StepScalars step = operands.step();
  QUERN_REQUIRE(step.order_offset + samples <= order_length, "gather: {} samples from {} on, but {} indices",
                samples, step.order_offset, order_length);
  std::vector<Index> indices;
  for (Index n = 0; n < samples; ++n) {
    indices.push_back(order[step.order_offset + n]);
    QUERN_REQUIRE(indices.back() < dataset, "gather: index {} of sample {}, but the dataset has {}",
                  indices.back(), n, dataset);
  }
  return indices;
}

/// x of a convolution whose output has `samples` images and elements of type `type`.
template <class Real>
class ImageBatch {
 public:
  ImageBatch(Operands<Real>& operands, const Conv2dAttrs& attrs, Index samples, DType type) {
    if (!attrs.gather) {
      view_ = operands.input();
      return;
    }
    const Shape images = operands.next_input().shape;
    const auto* const pixels = operands.template raw_input<std::uint8_t>();
    const std::vector<Index> indices = sample_indices(operands, samples, images[0]);
    const Shape shape{samples, images[1], images[2], images[3]};
    storage_.resize(static_cast<std::size_t>(shape.elements()));
    view_ = View<Real>({type, shape}, storage_.data());
    const Index image = shape.elements() / samples;
    const double mean = attrs.mean, stddev = attrs.stddev;
    for (Index i = 0; i < shape.elements(); ++i) {
      const double pixel = pixels[indices[static_cast<std::size_t>(i / image)] * image + i % image];
      view_[i] = (pixel / 255 - mean) / stddev;
    }
  }
  const View<Real>& view() const { return view_; }

 private:
  std::vector<double> storage_;  // room for elements of any type
  View<Real> view_;
};

/// Labels of a loss over `samples` rows.
template <class Real>
std::vector<std::int32_t> label_batch(Operands<Real>& operands, bool gather, Index samples) {
  const Index dataset = operands.next_input().shape[0];
  if (!gather) {
    const auto* const labels = operands.template raw_input<std::int32_t>();
    return {labels, labels + samples};
  }
  const auto* const classes = operands.template raw_input<std::uint8_t>();
  std::vector<std::int32_t> labels;
  for (const Index index : sample_indices(operands, samples, dataset)) labels.push_back(classes[index]);
  return labels;
}

}  // namespace quern::reference
