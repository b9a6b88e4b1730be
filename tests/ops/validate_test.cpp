#include <gmock/gmock.h>

#include <functional>
#include <limits>
#include <set>

#include "quern/error.hpp"
#include "valid_descs.hpp"

namespace quern::testing {
namespace {

using ::testing::HasSubstr;

/// validate() must throw an input error that has all of `parts`.
void expect_refused(const OpDesc& desc, const std::vector<std::string>& parts) {
  try {
    validate(desc);
    ADD_FAILURE() << "accepted: " << describe(desc);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(to_string(desc.op)));
    for (const std::string& part : parts) EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

TEST(Validate, AcceptsEveryOperation) {
  std::set<OpKey> seen;
  for (const OpDesc& desc : all_valid_descs()) {
    EXPECT_NO_THROW(validate(desc)) << describe(desc);
    seen.insert(desc.op);
  }
  EXPECT_EQ(seen, std::set<OpKey>(all_operations().begin(), all_operations().end()));
}

TEST(Validate, RefusesAMissingAndAnExtraOperandOfEveryOperation) {
  for (const OpDesc& desc : all_valid_descs()) {
    OpDesc fewer = desc, more = desc, fewer_out = desc;
    fewer.inputs.pop_back();
    more.inputs.push_back(more.inputs.back());
    fewer_out.outputs.pop_back();
    const auto n = desc.inputs.size();
    expect_refused(fewer, {"expected " + std::to_string(n) + " input", "got " + std::to_string(n - 1)});
    expect_refused(more, {"expected " + std::to_string(n) + " input", "got " + std::to_string(n + 1)});
    expect_refused(fewer_out, {"output", "got " + std::to_string(desc.outputs.size() - 1)});
  }
}

TEST(Validate, RefusesAnotherTypeInEverySlot) {
  for (const OpDesc& desc : all_valid_descs()) {
    const auto broken = [](const TensorDesc& tensor) {
      return TensorDesc{tensor.dtype == DType::u32 ? DType::i32 : DType::u32, tensor.shape};
    };
    for (std::size_t i = 0; i < desc.inputs.size(); ++i) {
      OpDesc wrong = desc;
      wrong.inputs[i] = broken(wrong.inputs[i]);
      expect_refused(wrong, {"input", to_string(desc.inputs[i].dtype), to_string(wrong.inputs[i].dtype)});
    }
    for (std::size_t i = 0; i < desc.outputs.size(); ++i) {
      OpDesc wrong = desc;
      wrong.outputs[i] = broken(wrong.outputs[i]);
      expect_refused(wrong, {"output", to_string(desc.outputs[i].dtype), to_string(wrong.outputs[i].dtype)});
    }
  }
}

/// Every extent of every operand is tied to another operand or to an attribute, except these.
bool free_extent(const OpDesc& desc, bool output, std::size_t slot, int axis) {
  const auto* const conv = std::get_if<Conv2dAttrs>(&desc.attrs);
  const auto* const loss = std::get_if<SoftmaxXentAttrs>(&desc.attrs);
  if ((conv && conv->gather) || (loss && loss->gather)) {
    // Nothing but y or dy says how many images are gathered, and the dataset and its order may be longer.
    if (axis != 0) return false;
    if (output) return conv && desc.op.direction == Direction::forward && slot == 0;
    const bool dy_first = desc.op.direction != Direction::forward;
    const std::size_t images = dy_first || loss ? 1 : 0;
    return slot == images || slot == images + 1 || (dy_first && slot == 0);
  }
  if (output) return false;
  switch (desc.op.kind) {
    case OpKind::input_batch:
      return slot == 2;  // the order may be longer than the batch or the dataset
    case OpKind::global_avgpool:
      return desc.op.direction == Direction::forward && (axis == 1 || axis == 2);
    case OpKind::metrics:
      return slot == 1 && axis == 1;  // classes
    case OpKind::guard:
      return slot < 2;  // samples and parameters of the model
    case OpKind::optimizer:
    case OpKind::ema:
      return desc.inputs[slot].dtype == DType::u8 && slot > 0 && axis == 0;  // steps of an epoch
    default:
      return false;
  }
}

TEST(Validate, RefusesAnotherExtentOfEveryOperand) {
  for (const OpDesc& desc : all_valid_descs()) {
    for (const bool output : {false, true}) {
      const auto& list = output ? desc.outputs : desc.inputs;
      for (std::size_t slot = 0; slot < list.size(); ++slot) {
        const auto extents = list[slot].shape.extents();
        for (int axis = 0; axis < list[slot].shape.rank(); ++axis) {
          // A window may not reach the last rows, so that one row more can be right too: eleven cannot.
          for (const std::int64_t delta : {std::int64_t{11}, -extents[static_cast<std::size_t>(axis)]}) {
            if (delta > 0 && free_extent(desc, output, slot, axis)) continue;
            std::vector<std::int64_t> changed(extents.begin(), extents.end());
            changed[static_cast<std::size_t>(axis)] += delta;
            OpDesc wrong = desc;
            (output ? wrong.outputs : wrong.inputs)[slot].shape = Shape(changed);
            expect_refused(wrong, {});
          }
        }
      }
    }
  }
}

TEST(Validate, RefusesAnotherRankOfEveryOperand) {
  for (const OpDesc& desc : all_valid_descs()) {
    for (const bool output : {false, true}) {
      const auto& list = output ? desc.outputs : desc.inputs;
      for (std::size_t slot = 0; slot < list.size(); ++slot) {
        OpDesc wrong = desc;
        (output ? wrong.outputs : wrong.inputs)[slot].shape = Shape{};
        expect_refused(wrong, {"scalar"});
      }
    }
  }
}

TEST(Validate, NamesSlotExpectedAndFound) {
  OpDesc desc = conv2d_desc(Direction::forward);
  desc.inputs[1] = f32({6, 3, 2, 4});
  expect_refused(desc, {"conv2d.forward: input w: expected 6x3x2x2, got 6x3x2x4"});
  desc = batchnorm_desc(Direction::forward);
  desc.outputs[4] = {DType::u8, {5, 4, 3, 2}};
  expect_refused(desc, {"batchnorm.forward: output argmax: expected 5x4x3x3, got 5x4x3x2"});
  desc = dense_desc(Direction::backward_weights);
  desc.outputs.pop_back();
  expect_refused(desc, {"dense.backward_weights: expected 2 outputs (dw, dbias), got 1"});
}

TEST(Validate, RefusesTheAttributesOfAnotherOperation) {
  for (OpDesc desc : all_valid_descs()) {
    if (desc.op.kind == OpKind::ema)
      desc.attrs = AddAttrs{};
    else
      desc.attrs = EmaAttrs{};
    expect_refused(desc, {"attributes"});
  }
}

TEST(Validate, RefusesWhatIsNoOperation) {
  OpDesc desc = relu_desc(Direction::forward);
  desc.op = {OpKind::flatten, Direction::forward};
  expect_refused(desc, {"not an operation"});
  desc = conv2d_desc(Direction::backward_data);
  desc.op.direction = Direction::inference;
  expect_refused(desc, {"not an operation"});
}

TEST(Validate, ActivationsMayBeBf16OnlyWhereThePrecisionSaysSo) {
  OpDesc desc = conv2d_desc(Direction::forward);
  desc.inputs[0].dtype = desc.outputs[0].dtype = DType::bf16;
  expect_refused(desc, {"input x", "expected f32, got bf16"});
  desc.precision = Precision::tf32;
  expect_refused(desc, {"expected f32, got bf16"});
  desc.precision = Precision::bf16;
  EXPECT_NO_THROW(validate(desc));
  desc.inputs[1].dtype = DType::bf16;  // master weights stay f32
  expect_refused(desc, {"input w: expected f32, got bf16"});
  desc = optimizer_desc(OptimizerKind::adam);
  desc.precision = Precision::bf16;
  desc.inputs[1].dtype = DType::bf16;
  expect_refused(desc, {"input grads: expected f32, got bf16"});
}

/// One attribute, broken.
struct Broken {
  const char* name;
  OpDesc desc;
  std::string part;
};

template <class T>
OpDesc changed(OpDesc desc, const std::function<void(T&)>& change) {
  change(std::get<T>(desc.attrs));
  return desc;
}

std::vector<Broken> broken_attributes() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<Broken> list;
  const auto input = [&](const char* name, auto change, const char* part) {
    list.push_back({name, changed<InputBatchAttrs>(input_batch_desc(), change), part});
  };
  input(
      "mean", [&](auto& a) { a.mean = nan; }, "mean");
  input(
      "stddev zero", [](auto& a) { a.stddev = 0; }, "stddev");
  input(
      "stddev infinite", [&](auto& a) { a.stddev = inf; }, "stddev");
  input(
      "shift", [](auto& a) { a.augment.shift = -1; }, "shift");
  input(
      "rotate", [](auto& a) { a.augment.rotate = 181; }, "rotate");
  input(
      "scale", [](auto& a) { a.augment.scale = 1; }, "scale");
  input(
      "shear", [](auto& a) { a.augment.shear = 90; }, "shear");
  input(
      "elastic", [&](auto& a) { a.augment.elastic = inf; }, "elastic");
  input(
      "erase", [](auto& a) { a.augment.erase = -1; }, "erase");
  input(
      "flip", [](auto& a) { a.augment.flip = 1.5f; }, "flip");
  input(
      "crop", [](auto& a) { a.augment.crop = 1025; }, "crop");

  const auto conv = [&](const char* name, auto change, const char* part) {
    for (const auto d : {Direction::forward, Direction::backward_data, Direction::backward_weights})
      list.push_back({name, changed<Conv2dAttrs>(conv2d_desc(d), change), part});
  };
  conv(
      "groups zero", [](auto& a) { a.groups = 0; }, "groups");
  conv(
      "groups not dividing", [](auto& a) { a.groups = 3; }, "groups must divide 4 input and 6 output");
  conv(
      "stride", [](auto& a) { a.window.stride_h = 0; }, "stride 0");
  conv(
      "dilation", [](auto& a) { a.dilation_w = 0; }, "dilation 0");
  conv(
      "padding", [](auto& a) { a.window.pad_left = -1; }, "-1");
  conv(
      "kernel", [](auto& a) { a.window.r = 0; }, "kernel 0");
  conv(
      "too wide", [](auto& a) { a.dilation_h = 9; }, "does not fit");
  conv(
      "another stride", [](auto& a) { a.window.stride_w = 2; }, "5x4x7x6");

  const auto norm = [&](const char* name, auto change, const char* part) {
    for (const auto d : {Direction::forward, Direction::inference, Direction::backward})
      list.push_back({name, changed<BatchNormAttrs>(batchnorm_desc(d), change), part});
  };
  norm(
      "momentum", [](auto& a) { a.momentum = 1.5f; }, "momentum");
  norm(
      "epsilon", [](auto& a) { a.epsilon = 0; }, "epsilon");
  norm(
      "window", [](auto& a) { a.window.stride_h = 1; }, "expected 5x7x3x3");
  norm(
      "padding", [](auto& a) { a.window.pad_right = 2; }, "padding must be smaller");

  const auto pool = [&](const char* name, auto change, const char* part) {
    for (const auto kind : {OpKind::maxpool2d, OpKind::avgpool2d})
      for (const auto d : {Direction::forward, Direction::backward})
        list.push_back({name, changed<Pool2dAttrs>(pool2d_desc(kind, d), change), part});
  };
  pool(
      "padding", [](auto& a) { a.window.pad_top = 3; }, "padding must be smaller");
  pool(
      "too wide", [](auto& a) { a.window.s = 7; }, "does not fit");

  for (const auto d : {Direction::forward, Direction::backward}) {
    list.push_back({"probability", changed<DropoutAttrs>(dropout_desc(d), [](auto& a) { a.probability = 1; }),
                    "probability"});
    list.push_back(
        {"stream", changed<DropoutAttrs>(dropout_desc(d), [](auto& a) { a.stream = 1u << 24; }), "stream"});
  }

  const auto loss = [&](const char* name, auto change, const char* part) {
    list.push_back({name, changed<SoftmaxXentAttrs>(softmax_xent_desc(), change), part});
  };
  loss(
      "smoothing", [](auto& a) { a.label_smoothing = 1.01f; }, "label_smoothing");
  loss(
      "scale", [&](auto& a) { a.gradient_scale = inf; }, "gradient_scale");

  const auto optimizer = [&](const char* name, auto change, const char* part) {
    list.push_back({name, changed<OptimizerAttrs>(optimizer_desc(OptimizerKind::adam), change), part});
  };
  optimizer(
      "momentum", [](auto& a) { a.momentum = 1; }, "momentum");
  optimizer(
      "beta1", [](auto& a) { a.beta1 = -0.1f; }, "beta1");
  optimizer(
      "beta2", [](auto& a) { a.beta2 = 1; }, "beta2");
  optimizer(
      "epsilon", [](auto& a) { a.epsilon = 0; }, "epsilon");
  optimizer(
      "decay", [](auto& a) { a.weight_decay = -1; }, "weight_decay");
  optimizer(
      "clip", [&](auto& a) { a.clip_norm = nan; }, "clip_norm");
  optimizer(
      "no segment", [](auto& a) { a.segments.clear(); }, "at least one");
  optimizer(
      "empty segment", [](auto& a) { a.segments[1].elements = 0; }, "segments");
  optimizer(
      "overlap", [](auto& a) { a.segments[1].offset = 39; }, "segments");
  optimizer(
      "past the end", [](auto& a) { a.segments[1].elements = 37; }, "segments");
  optimizer(
      "overflow", [](auto& a) { a.segments[1].elements = std::numeric_limits<std::int64_t>::max(); },
      "segments");
  return list;
}

TEST(Validate, RefusesEveryBrokenAttribute) {
  for (const Broken& broken : broken_attributes()) {
    SCOPED_TRACE(broken.name);
    expect_refused(broken.desc, {broken.part});
  }
}

TEST(Validate, AnArgmaxNeedsAWindowOfAtMost256Elements) {
  Pool2dAttrs attrs;
  attrs.window = {.r = 16, .s = 16};
  attrs.save_argmax = true;
  const OpKey key{OpKind::maxpool2d, Direction::forward};
  EXPECT_NO_THROW(
      validate({key, attrs, {f32({1, 16, 16, 1})}, {f32({1, 1, 1, 1}), {DType::u8, {1, 1, 1, 1}}}}));
  attrs.window.s = 17;
  OpDesc desc{key, attrs, {f32({1, 16, 17, 1})}, {f32({1, 1, 1, 1}), {DType::u8, {1, 1, 1, 1}}}};
  expect_refused(desc, {"at most 256 elements, got 16x17"});
  // Without an argmax any window will do.
  std::get<Pool2dAttrs>(desc.attrs).save_argmax = false;
  desc.outputs.pop_back();
  EXPECT_NO_THROW(validate(desc));
}

}  // namespace
}  // namespace quern::testing
