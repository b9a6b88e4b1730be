#include "quern/op.hpp"

namespace quern {

namespace {

double count(const TensorDesc& tensor) {
  return static_cast<double>(tensor.elements());
}

double bytes_of(const std::vector<TensorDesc>& tensors) {
  double bytes = 0;
  for (const TensorDesc& tensor : tensors) bytes += static_cast<double>(tensor.bytes());
  return bytes;
}

/// Mean and variance of one channel: an addition and a multiply-add an element.
constexpr double kStatistics = 3;
/// Normalising with the scale and the shift folded: one multiply-add an element.
constexpr double kNormalise = 2;

double epilogue(double outputs, bool bias, bool relu, bool stats) {
  return outputs * ((bias ? 1 : 0) + (relu ? 1 : 0) + (stats ? kStatistics : 0));
}

/// conv2d and dense: `taps` multiply-adds for every element of y (or dy), in every direction.
template <class T>
double matrix_product(const OpDesc& desc, const T& attrs, double outputs, double taps) {
  const double product = 2 * outputs * taps;
  switch (desc.op.direction) {
    case Direction::forward:
      return product + epilogue(outputs, attrs.bias, attrs.relu, attrs.stats);
    case Direction::backward_data:
      return product + (attrs.mask ? count(desc.outputs[0]) : 0);
    case Direction::backward:
      return 2 * product + (attrs.mask ? count(desc.outputs[0]) : 0) + (attrs.bias ? outputs : 0);
    default:
      return product + (attrs.bias ? outputs : 0);
  }
}

/// Of w or dw, in any direction of conv2d and dense.
const Shape& weights_shape(const OpDesc& desc) {
  switch (desc.op.direction) {
    case Direction::backward_weights:
      return desc.outputs[0].shape;
    case Direction::backward:
      return desc.outputs[1].shape;
    case Direction::forward:
      return desc.inputs[desc.op.kind == OpKind::conv2d && desc.as<Conv2dAttrs>().gather ? 3 : 1].shape;
    default:
      return desc.inputs[1].shape;
  }
}

double conv2d(const OpDesc& desc) {
  const auto& attrs = desc.as<Conv2dAttrs>();
  const bool forward = desc.op.direction == Direction::forward;
  const Shape& weights = weights_shape(desc);
  const double taps = static_cast<double>(weights[1] * weights[2] * weights[3]);
  return matrix_product(desc, attrs, count(forward ? desc.outputs[0] : desc.inputs[0]), taps);
}

double dense(const OpDesc& desc) {
  const bool forward = desc.op.direction == Direction::forward;
  return matrix_product(desc, desc.as<DenseAttrs>(), count(forward ? desc.outputs[0] : desc.inputs[0]),
                        static_cast<double>(weights_shape(desc)[1]));
}

double batchnorm(const OpDesc& desc) {
  const auto& attrs = desc.as<BatchNormAttrs>();
  const double window = static_cast<double>(attrs.window.r) * attrs.window.s;
  if (desc.op.direction == Direction::backward) {
    // xhat 2, dgamma 2, dbeta 1; dx = a * dy + b * x + c with a, b, c a channel's: 4.
    const double x = count(desc.inputs[1]);
    return x * (9 + (attrs.mask ? 1 : 0)) + (attrs.relu ? count(desc.inputs[0]) : 0);
  }
  const double x = count(desc.inputs[0]);
  const bool measure = desc.op.direction == Direction::forward && !attrs.stats;
  return x * (kNormalise + (measure ? kStatistics : 0) + (attrs.relu ? 1 : 0)) +
         (attrs.pool ? count(desc.outputs[0]) * (window - 1) : 0);
}

double pool2d(const OpDesc& desc) {
  const auto& attrs = desc.as<Pool2dAttrs>();
  const double window = static_cast<double>(attrs.window.r) * attrs.window.s;
  const bool average = desc.op.kind == OpKind::avgpool2d;
  // Forward: the window's comparisons, or its additions and one scaling.
  if (desc.op.direction == Direction::forward)
    return count(desc.outputs[0]) * (average ? window : window - 1);
  const double dy = count(desc.inputs[0]);
  // Averages scale each dy once and add it to every element of its window; maxima add it to one.
  if (average) return dy * (1 + window) + (attrs.mask ? count(desc.outputs[0]) : 0);
  return dy * (1 + (attrs.mask ? 1 : 0));
}

double global_avgpool(const OpDesc& desc) {
  if (desc.op.direction == Direction::forward) return count(desc.inputs[0]) + count(desc.outputs[0]);
  return count(desc.inputs[0]) + (desc.as<GlobalPoolAttrs>().mask ? count(desc.outputs[0]) : 0);
}

/// A comparison a logit, three additions a sample.
double metrics(double logits, double samples) {
  return logits + 3 * samples;
}

double softmax_xent(const OpDesc& desc) {
  const auto& attrs = desc.as<SoftmaxXentAttrs>();
  const double logits = count(desc.inputs[0]);
  // Maximum, difference, exponential and sum for each logit; logarithm and two differences for each row.
  const double forward = 4 * logits + 3 * count(desc.outputs[0]);
  return forward + (attrs.gradient ? 3 * logits : 0) +
         (attrs.metrics ? metrics(logits, count(desc.outputs[0])) : 0);
}

double parameters(const OptimizerAttrs& attrs) {
  std::int64_t elements = 0;
  for (const ParamSegment& segment : attrs.segments) elements += segment.elements;
  return static_cast<double>(elements);
}

double optimizer(const OpDesc& desc) {
  const auto& attrs = desc.as<OptimizerAttrs>();
  double per_element = 0;
  switch (attrs.kind) {
    case OptimizerKind::sgd:
      per_element = 2;
      break;
    case OptimizerKind::momentum:
      per_element = 4;
      break;
    case OptimizerKind::nesterov:
      per_element = 6;
      break;
    // m 3, v 4, square root, epsilon, division, update 2.
    case OptimizerKind::adam:
    case OptimizerKind::adamw:
      per_element = 12;
      break;
  }
  if (attrs.weight_decay != 0) per_element += 2;
  if (attrs.clip_norm != 0) per_element += 3;  // the norm's multiply-add and the scaling
  return parameters(attrs) * per_element;
}

double input_batch(const OpDesc& desc) {
  // One multiply-add normalises; sampling costs the two coordinates and three interpolations, an elastic
  // distortion three more for each coordinate.
  const Augment& augment = desc.as<InputBatchAttrs>().augment;
  return count(desc.outputs[0]) * ((augment.enabled() ? 2 + 8 + 9 : 2) + (augment.elastic != 0 ? 2 * 9 : 0));
}

double flops(const OpDesc& desc) {
  switch (desc.op.kind) {
    case OpKind::input_batch:
      return input_batch(desc);
    case OpKind::conv2d:
      return conv2d(desc);
    case OpKind::dense:
      return dense(desc);
    case OpKind::batchnorm:
      return batchnorm(desc);
    case OpKind::relu:
      return count(desc.outputs[0]);
    case OpKind::maxpool2d:
    case OpKind::avgpool2d:
      return pool2d(desc);
    case OpKind::global_avgpool:
      return global_avgpool(desc);
    case OpKind::dropout:
      return 2 * count(desc.outputs[0]);
    case OpKind::add:
      return count(desc.outputs[0]) * (desc.as<AddAttrs>().relu ? 2 : 1);
    case OpKind::flatten:
      return 0;
    case OpKind::softmax_xent:
      return softmax_xent(desc);
    case OpKind::metrics:
      return metrics(count(desc.inputs[1]), count(desc.inputs[0]));
    case OpKind::guard:
      return count(desc.inputs[0]) + count(desc.inputs[1]);
    case OpKind::optimizer:
      return optimizer(desc);
    case OpKind::ema:
      break;
  }
  return 3 * count(desc.outputs[0]);  // ema
}

/// All operands, of the dataset (input `slot`) and its order behind it only what a batch of `samples` needs.
double gathered_bytes(const OpDesc& desc, std::size_t slot, std::int64_t samples) {
  double bytes = bytes_of(desc.inputs) + bytes_of(desc.outputs);
  for (const TensorDesc& tensor : {desc.inputs[slot], desc.inputs[slot + 1]})
    bytes -= static_cast<double>(tensor.bytes()) / static_cast<double>(tensor.shape[0]) *
             static_cast<double>(tensor.shape[0] - samples);
  return bytes;
}

/// Of the table only the next step's entry is read.
double scalars(bool advance) {
  return static_cast<double>(sizeof(StepScalars)) * (advance ? 3 : 1);
}

double bytes(const OpDesc& desc) {
  const double all = bytes_of(desc.inputs) + bytes_of(desc.outputs);
  switch (desc.op.kind) {
    case OpKind::input_batch: {
      // Of the dataset only the batch's images, labels and indices move.
      const double samples = static_cast<double>(desc.outputs[0].shape[0]);
      const double pixels = count(desc.outputs[0]);
      return pixels + samples * (1 + sizeof(std::uint32_t)) + sizeof(StepScalars) + bytes_of(desc.outputs);
    }
    case OpKind::optimizer: {
      // Gaps between the segments need not move.
      const auto& attrs = desc.as<OptimizerAttrs>();
      const double tensors = 3 + 2 * attrs.slots();
      return scalars(attrs.advance) + parameters(attrs) * tensors * sizeof(float);
    }
    case OpKind::conv2d: {
      if (!desc.as<Conv2dAttrs>().gather) return all;
      const bool forward = desc.op.direction == Direction::forward;
      return gathered_bytes(desc, forward ? 0 : 1, (forward ? desc.outputs : desc.inputs)[0].shape[0]);
    }
    case OpKind::softmax_xent:
      if (!desc.as<SoftmaxXentAttrs>().gather) return all;
      return gathered_bytes(desc, 1, desc.inputs[0].shape[0]);
    case OpKind::ema:
      return scalars(desc.as<EmaAttrs>().advance) + 3 * count(desc.inputs[1]) * sizeof(float);
    case OpKind::flatten:
      return 0;
    default:
      return all;
  }
}

}  // namespace

OpCost cost(const OpDesc& desc) {
  return {flops(desc), bytes(desc)};
}

}  // namespace quern
