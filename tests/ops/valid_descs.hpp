#pragma once

/// One valid description of every operation, with every optional operand present, for tests to break or
/// price.

#include <vector>

#include "quern/op.hpp"

namespace quern::testing {

inline TensorDesc f32(Shape shape) {
  return {DType::f32, shape};
}
inline TensorDesc steps_desc() {
  return {DType::u8, {7, 64}};
}

inline TensorDesc step_desc() {
  return {DType::u8, {64}};
}

inline OpDesc input_batch_desc() {
  InputBatchAttrs attrs;
  attrs.mean = 0.1307f;
  attrs.stddev = 0.3081f;
  return {{OpKind::input_batch, Direction::forward},
          attrs,
          {{DType::u8, {100, 28, 28, 1}}, {DType::u8, {100}}, {DType::u32, {100}}, step_desc()},
          {f32({8, 28, 28, 1}), {DType::i32, {8}}}};
}

/// 8x7x6 images with 4 channels to 6, 3x2 filters in two groups.
inline Conv2dAttrs conv2d_attrs() {
  Conv2dAttrs attrs;
  attrs.window = {
      .r = 3, .s = 2, .stride_h = 2, .stride_w = 1, .pad_top = 1, .pad_bottom = 0, .pad_right = 1};
  attrs.groups = 2;
  attrs.bias = attrs.stats = attrs.mask = true;
  return attrs;
}

inline OpDesc conv2d_desc(Direction direction) {
  const TensorDesc x = f32({5, 8, 7, 4}), w = f32({6, 3, 2, 2}), y = f32({5, 4, 7, 6}), bias = f32({6});
  const OpKey key{OpKind::conv2d, direction};
  if (direction == Direction::forward) return {key, conv2d_attrs(), {x, w, bias}, {y, f32({2, 6})}};
  if (direction == Direction::backward_data) return {key, conv2d_attrs(), {y, w, x}, {x}};
  if (direction == Direction::backward) return {key, conv2d_attrs(), {y, x, w}, {x, w, bias}};
  return {key, conv2d_attrs(), {y, x}, {w, bias}};
}

inline OpDesc dense_desc(Direction direction) {
  DenseAttrs attrs;
  attrs.bias = attrs.stats = attrs.mask = true;
  const TensorDesc x = f32({5, 12}), w = f32({3, 12}), y = f32({5, 3}), bias = f32({3});
  const OpKey key{OpKind::dense, direction};
  if (direction == Direction::forward) return {key, attrs, {x, w, bias}, {y, f32({2, 3})}};
  if (direction == Direction::backward_data) return {key, attrs, {y, w, x}, {x}};
  if (direction == Direction::backward) return {key, attrs, {y, x, w}, {x, w, bias}};
  return {key, attrs, {y, x}, {w, bias}};
}

inline OpDesc batchnorm_desc(Direction direction) {
  BatchNormAttrs attrs;
  attrs.relu = attrs.stats = attrs.mask = attrs.pool = true;
  attrs.window = {.r = 2, .s = 2, .stride_h = 2, .stride_w = 2};
  const TensorDesc x = f32({5, 8, 6, 3}), y = f32({5, 4, 3, 3}), c = f32({3}), pair = f32({2, 3});
  const TensorDesc argmax{DType::u8, {5, 4, 3, 3}};
  const OpKey key{OpKind::batchnorm, direction};
  if (direction == Direction::forward) return {key, attrs, {x, c, c, c, c, pair}, {y, pair, c, c, argmax}};
  if (direction == Direction::inference) return {key, attrs, {x, c, c, c, c}, {y}};
  return {key, attrs, {y, x, c, pair, y, argmax}, {x, c, c}};
}

inline OpDesc relu_desc(Direction direction) {
  const TensorDesc x = f32({5, 12});
  if (direction == Direction::forward) return {{OpKind::relu, direction}, NoAttrs{}, {x}, {x}};
  return {{OpKind::relu, direction}, NoAttrs{}, {x, x}, {x}};
}

inline OpDesc pool2d_desc(OpKind kind, Direction direction) {
  Pool2dAttrs attrs;
  attrs.window = {.r = 3, .s = 2, .stride_h = 2, .stride_w = 2, .pad_top = 1};
  attrs.save_argmax = attrs.mask = true;
  const TensorDesc x = f32({5, 8, 6, 3}), y = f32({5, 4, 3, 3}), argmax{DType::u8, {5, 4, 3, 3}};
  const OpKey key{kind, direction};
  if (kind == OpKind::maxpool2d)
    return direction == Direction::forward ? OpDesc{key, attrs, {x}, {y, argmax}}
                                           : OpDesc{key, attrs, {y, argmax, y}, {x}};
  return direction == Direction::forward ? OpDesc{key, attrs, {x}, {y}} : OpDesc{key, attrs, {y, x}, {x}};
}

inline OpDesc global_avgpool_desc(Direction direction) {
  GlobalPoolAttrs attrs;
  attrs.mask = true;
  const TensorDesc x = f32({5, 8, 6, 3}), y = f32({5, 3});
  if (direction == Direction::forward) return {{OpKind::global_avgpool, direction}, attrs, {x}, {y}};
  return {{OpKind::global_avgpool, direction}, attrs, {y, x}, {x}};
}

inline OpDesc dropout_desc(Direction direction) {
  const TensorDesc x = f32({5, 12});
  return {{OpKind::dropout, direction}, DropoutAttrs{}, {x, step_desc()}, {x}};
}

inline OpDesc add_desc() {
  const TensorDesc x = f32({5, 8, 6, 3});
  return {{OpKind::add, Direction::forward}, AddAttrs{}, {x, x}, {x}};
}

inline OpDesc softmax_xent_desc() {
  SoftmaxXentAttrs attrs;
  attrs.gradient = attrs.metrics = true;
  const TensorDesc sums{DType::f64, {4}};
  return {{OpKind::softmax_xent, Direction::forward},
          attrs,
          {f32({5, 10}), {DType::i32, {5}}, sums},
          {f32({5}), f32({5, 10}), sums}};
}

inline OpDesc metrics_desc() {
  const TensorDesc sums{DType::f64, {4}};
  return {{OpKind::metrics, Direction::forward},
          NoAttrs{},
          {f32({5}), f32({5, 10}), {DType::i32, {5}}, sums},
          {sums}};
}

inline TensorDesc guard_state_desc() {
  return {DType::f64, {4}};
}

inline OpDesc guard_desc() {
  const TensorDesc four = guard_state_desc(), running = f32({6});
  const std::vector<TensorDesc> state{four, four, four, running, running};
  OpDesc desc{{OpKind::guard, Direction::forward}, GuardAttrs{true}, {f32({5}), f32({100})}, state};
  desc.inputs.insert(desc.inputs.end(), state.begin(), state.end());
  return desc;
}

/// With `advance` also guarded.
inline OpDesc optimizer_desc(OptimizerKind kind, bool advance = false) {
  OptimizerAttrs attrs;
  attrs.guarded = advance;
  attrs.advance = advance;
  attrs.kind = kind;
  attrs.segments = {{.offset = 0, .elements = 40}, {.offset = 64, .elements = 36, .decay = false}};
  const TensorDesc flat = f32({100});
  OpDesc desc{{OpKind::optimizer, Direction::forward}, attrs, {step_desc(), flat, flat}, {flat}};
  for (int slot = 0; slot < attrs.slots(); ++slot) {
    desc.inputs.push_back(flat);
    desc.outputs.push_back(flat);
  }
  if (advance) {
    desc.inputs.push_back(guard_state_desc());
    desc.inputs.push_back(steps_desc());
    desc.outputs.push_back(step_desc());
  }
  return desc;
}

inline OpDesc ema_desc(bool advance = false) {
  const TensorDesc flat = f32({100});
  OpDesc desc{
      {OpKind::ema, Direction::forward}, EmaAttrs{advance, advance}, {step_desc(), flat, flat}, {flat}};
  if (advance) {
    desc.inputs.push_back(guard_state_desc());
    desc.inputs.push_back(steps_desc());
    desc.outputs.push_back(step_desc());
  }
  return desc;
}

/// The first layer and the loss with the dataset for their batch.
inline OpDesc gathering_conv2d_desc(Direction direction) {
  Conv2dAttrs attrs;
  attrs.window = {.r = 3, .s = 3};
  attrs.bias = attrs.gather = true;
  attrs.mean = 0.5f;
  const TensorDesc images{DType::u8, {100, 8, 7, 1}}, order{DType::u32, {90}};
  const TensorDesc w = f32({6, 3, 3, 1}), y = f32({5, 6, 5, 6}), bias = f32({6});
  const OpKey key{OpKind::conv2d, direction};
  if (direction == Direction::forward) return {key, attrs, {images, order, step_desc(), w, bias}, {y}};
  return {key, attrs, {y, images, order, step_desc()}, {w, bias}};
}
inline OpDesc gathering_softmax_xent_desc() {
  OpDesc desc = softmax_xent_desc();
  std::get<SoftmaxXentAttrs>(desc.attrs).gather = true;
  desc.inputs = {desc.inputs[0], {DType::u8, {100}}, {DType::u32, {90}}, step_desc(), desc.inputs[2]};
  return desc;
}

/// Each of the operations once, and the optimizer in its five kinds; last, those that advance the step.
inline std::vector<OpDesc> all_valid_descs() {
  std::vector<OpDesc> descs = {input_batch_desc()};
  const auto forward = Direction::forward, backward = Direction::backward;
  for (const auto direction : {forward, Direction::backward_data, Direction::backward_weights, backward}) {
    descs.push_back(conv2d_desc(direction));
    descs.push_back(dense_desc(direction));
  }
  for (const auto direction : {forward, Direction::inference, backward})
    descs.push_back(batchnorm_desc(direction));
  for (const auto direction : {forward, backward}) {
    descs.push_back(relu_desc(direction));
    descs.push_back(pool2d_desc(OpKind::maxpool2d, direction));
    descs.push_back(pool2d_desc(OpKind::avgpool2d, direction));
    descs.push_back(global_avgpool_desc(direction));
    descs.push_back(dropout_desc(direction));
  }
  descs.insert(descs.end(), {add_desc(), softmax_xent_desc(), metrics_desc(), guard_desc(), ema_desc()});
  descs.insert(descs.end(),
               {gathering_conv2d_desc(forward), gathering_conv2d_desc(Direction::backward_weights),
                gathering_softmax_xent_desc()});
  for (const auto kind : {OptimizerKind::sgd, OptimizerKind::momentum, OptimizerKind::nesterov,
                          OptimizerKind::adam, OptimizerKind::adamw})
    descs.push_back(optimizer_desc(kind));
  descs.push_back(optimizer_desc(OptimizerKind::adamw, true));
  descs.push_back(ema_desc(true));
  return descs;
}

}  // namespace quern::testing
