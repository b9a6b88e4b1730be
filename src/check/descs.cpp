#include "check/descs.hpp"

#include <utility>

#include "ops/slots.hpp"

namespace quern::check {
namespace {

TensorDesc f32(const Shape& shape) {
  return {DType::f32, shape};
}
const TensorDesc kMetrics{DType::f64, Shape{static_cast<std::int64_t>(sizeof(Metrics) / sizeof(double))}};
const TensorDesc kGuard{DType::f64, Shape{static_cast<std::int64_t>(sizeof(StepGuard) / sizeof(double))}};
const TensorDesc kStep{DType::u8, Shape{static_cast<std::int64_t>(sizeof(StepScalars))}};

/// Appends a tensor where `when` holds: the bracketed slots of the contract.
void append(std::vector<TensorDesc>& list, bool when, const TensorDesc& desc) {
  if (when) list.push_back(desc);
}

/// A dataset of a few images more than the batch, and an order that is longer than both.
void append_dataset(std::vector<TensorDesc>& list, const Shape& dataset, std::int64_t batch) {
  list.insert(list.end(), {{DType::u8, dataset}, {DType::u32, {2 * batch + 5}}, kStep});
}

/// What stands in the place of x: itself, or the dataset it is gathered from.
std::vector<TensorDesc> image_slots(const Shape& x, const Conv2dAttrs& attrs) {
  if (!attrs.gather) return {f32(x)};
  std::vector<TensorDesc> slots;
  append_dataset(slots, {x[0] + 3, x[1], x[2], x[3]}, x[0]);
  return slots;
}
std::vector<TensorDesc> image_slots(const Shape& x, const DenseAttrs&) {
  return {f32(x)};
}

/// The slots of `advance`.
void append_advance(OpDesc& desc, bool advance, std::int64_t steps) {
  append(desc.inputs, advance, {DType::u8, Shape{steps, kStep.shape[0]}});
  append(desc.outputs, advance, kStep);
}

/// conv2d and dense: the same slots over different shapes.
template <class A>
OpDesc product_desc(OpKey op, const Shape& x, const Shape& w, const Shape& y, std::int64_t k,
                    const A& attrs) {
  OpDesc desc{op, attrs, {}, {}, Precision::fp32};
  const std::vector<TensorDesc> image = image_slots(x, attrs);
  switch (op.direction) {
    case Direction::forward:
      desc.inputs = image;
      desc.inputs.push_back(f32(w));
      append(desc.inputs, attrs.bias, f32({k}));
      desc.outputs = {f32(y)};
      append(desc.outputs, attrs.stats, f32({2, k}));
      break;
    case Direction::backward_data:
      desc.inputs = {f32(y), f32(w)};
      append(desc.inputs, attrs.mask, f32(x));
      desc.outputs = {f32(x)};
      break;
    case Direction::backward:
      desc.inputs = {f32(y), f32(x), f32(w)};
      desc.outputs = {f32(x), f32(w)};
      append(desc.outputs, attrs.bias, f32({k}));
      break;
    default:
      desc.inputs = {f32(y)};
      desc.inputs.insert(desc.inputs.end(), image.begin(), image.end());
      desc.outputs = {f32(w)};
      append(desc.outputs, attrs.bias, f32({k}));
      break;
  }
  return desc;
}

Shape windowed(const Shape& x, const Window& w, int dilation_h, int dilation_w, std::int64_t channels) {
  return {x[0], window_output(x[1], w.r, w.stride_h, dilation_h, w.pad_top, w.pad_bottom),
          window_output(x[2], w.s, w.stride_w, dilation_w, w.pad_left, w.pad_right), channels};
}

}  // namespace

OpDesc input_batch_desc(const Shape& images, std::int64_t order_length, std::int64_t batch,
                        const InputBatchAttrs& attrs) {
  return {{OpKind::input_batch, Direction::forward},
          attrs,
          {{DType::u8, images}, {DType::u8, {images[0]}}, {DType::u32, {order_length}}, kStep},
          {f32({batch, images[1], images[2], images[3]}), {DType::i32, {batch}}},
          Precision::fp32};
}

OpDesc conv2d_desc(Direction direction, const ImageShape& shape, const Conv2dAttrs& attrs) {
  const Shape x{shape.n, shape.h, shape.w, shape.c};
  const Shape w{shape.k, attrs.window.r, attrs.window.s, shape.c / attrs.groups};
  const Shape y = windowed(x, attrs.window, attrs.dilation_h, attrs.dilation_w, shape.k);
  return product_desc({OpKind::conv2d, direction}, x, w, y, shape.k, attrs);
}

OpDesc dense_desc(Direction direction, std::int64_t n, std::int64_t c, std::int64_t k,
                  const DenseAttrs& attrs) {
  return product_desc({OpKind::dense, direction}, {n, c}, {k, c}, {n, k}, k, attrs);
}

OpDesc batchnorm_desc(Direction direction, const Shape& x, const BatchNormAttrs& attrs) {
  const std::int64_t c = x[x.rank() - 1];
  const Shape y = attrs.pool ? windowed(x, attrs.window, 1, 1, c) : x;
  const TensorDesc channels = f32({c});
  const TensorDesc pairs = f32({2, c});
  OpDesc desc{{OpKind::batchnorm, direction}, attrs, {}, {}, Precision::fp32};
  if (direction == Direction::backward) {
    desc.inputs = {f32(y), f32(x), channels, pairs};
    append(desc.inputs, attrs.relu, f32(y));
    append(desc.inputs, attrs.pool, {DType::u8, y});
    desc.outputs = {f32(x), channels, channels};
    return desc;
  }
  desc.inputs = {f32(x), channels, channels, channels, channels};
  desc.outputs = {f32(y)};
  if (direction == Direction::forward) {
    append(desc.inputs, attrs.stats, pairs);
    desc.outputs.insert(desc.outputs.end(), {pairs, channels, channels});
    append(desc.outputs, attrs.pool, {DType::u8, y});
  }
  return desc;
}

OpDesc relu_desc(Direction direction, const Shape& shape) {
  OpDesc desc{{OpKind::relu, direction}, NoAttrs{}, {f32(shape)}, {f32(shape)}, Precision::fp32};
  append(desc.inputs, direction == Direction::backward, f32(shape));
  return desc;
}

OpDesc pool2d_desc(OpKind kind, Direction direction, const Shape& x, const Pool2dAttrs& attrs) {
  const Shape y = windowed(x, attrs.window, 1, 1, x[3]);
  const bool is_max = kind == OpKind::maxpool2d;
  OpDesc desc{{kind, direction}, attrs, {}, {}, Precision::fp32};
  if (direction == Direction::forward) {
    desc.inputs = {f32(x)};
    desc.outputs = {f32(y)};
    append(desc.outputs, is_max && attrs.save_argmax, {DType::u8, y});
  } else {
    desc.inputs = {f32(y)};
    append(desc.inputs, is_max, {DType::u8, y});
    append(desc.inputs, attrs.mask, f32(is_max ? y : x));
    desc.outputs = {f32(x)};
  }
  return desc;
}

OpDesc global_avgpool_desc(Direction direction, const Shape& x, const GlobalPoolAttrs& attrs) {
  const Shape y{x[0], x[3]};
  OpDesc desc{{OpKind::global_avgpool, direction}, attrs, {}, {}, Precision::fp32};
  const bool forward = direction == Direction::forward;
  desc.inputs = {f32(forward ? x : y)};
  append(desc.inputs, !forward && attrs.mask, f32(x));
  desc.outputs = {f32(forward ? y : x)};
  return desc;
}

OpDesc dropout_desc(Direction direction, const Shape& shape, const DropoutAttrs& attrs) {
  return {{OpKind::dropout, direction}, attrs, {f32(shape), kStep}, {f32(shape)}, Precision::fp32};
}

OpDesc add_desc(const Shape& shape, const AddAttrs& attrs) {
  return {{OpKind::add, Direction::forward}, attrs, {f32(shape), f32(shape)}, {f32(shape)}, Precision::fp32};
}

OpDesc softmax_xent_desc(std::int64_t n, std::int64_t classes, const SoftmaxXentAttrs& attrs) {
  OpDesc desc{
      {OpKind::softmax_xent, Direction::forward}, attrs, {f32({n, classes})}, {f32({n})}, Precision::fp32};
  if (attrs.gather)
    append_dataset(desc.inputs, {n + 3}, n);
  else
    desc.inputs.push_back({DType::i32, {n}});
  append(desc.outputs, attrs.gradient, f32({n, classes}));
  append(desc.inputs, attrs.metrics, kMetrics);
  append(desc.outputs, attrs.metrics, kMetrics);
  return desc;
}

OpDesc metrics_desc(std::int64_t n, std::int64_t classes) {
  return {{OpKind::metrics, Direction::forward},
          NoAttrs{},
          {f32({n}), f32({n, classes}), {DType::i32, {n}}, kMetrics},
          {kMetrics},
          Precision::fp32};
}

OpDesc guard_desc(std::int64_t n, std::int64_t elements, std::int64_t statistics) {
  OpDesc desc{{OpKind::guard, Direction::forward},
              GuardAttrs{statistics > 0},
              {f32({n}), f32({elements})},
              {kMetrics, kMetrics, kGuard},
              Precision::fp32};
  if (statistics > 0) desc.outputs.insert(desc.outputs.end(), 2, f32({statistics}));
  desc.inputs.insert(desc.inputs.end(), desc.outputs.begin(), desc.outputs.end());
  return desc;
}

OpDesc optimizer_desc(std::int64_t elements, const OptimizerAttrs& attrs, std::int64_t steps) {
  const TensorDesc flat = f32({elements});
  OpDesc desc{{OpKind::optimizer, Direction::forward}, attrs, {kStep, flat, flat}, {flat}, Precision::fp32};
  const auto slots = static_cast<std::size_t>(attrs.slots());
  desc.inputs.insert(desc.inputs.end(), slots, flat);
  desc.outputs.insert(desc.outputs.end(), slots, flat);
  append(desc.inputs, attrs.guarded, kGuard);
  append_advance(desc, attrs.advance, steps);
  return desc;
}

OpDesc ema_desc(std::int64_t elements, const EmaAttrs& attrs, std::int64_t steps) {
  const TensorDesc flat = f32({elements});
  OpDesc desc{{OpKind::ema, Direction::forward}, attrs, {kStep, flat, flat}, {flat}, Precision::fp32};
  append(desc.inputs, attrs.guarded, kGuard);
  append_advance(desc, attrs.advance, steps);
  return desc;
}

OpDesc at_precision(const OpDesc& desc, Precision precision) {
  OpDesc result = desc;
  result.precision = precision;
  if (precision != Precision::bf16) return result;
  const SlotLists slots = slots_of(desc);
  for (std::size_t i = 0; i < slots.inputs.size(); ++i)
    if (slots.inputs[i].type == SlotType::activation) result.inputs[i].dtype = DType::bf16;
  for (std::size_t i = 0; i < slots.outputs.size(); ++i)
    if (slots.outputs[i].type == SlotType::activation) result.outputs[i].dtype = DType::bf16;
  return result;
}

OpDesc in_fp32(const OpDesc& desc) {
  OpDesc result = desc;
  result.precision = Precision::fp32;
  for (auto* const list : {&result.inputs, &result.outputs})
    for (TensorDesc& operand : *list)
      if (operand.dtype == DType::bf16) operand.dtype = DType::f32;
  return result;
}

}  // namespace quern::check
