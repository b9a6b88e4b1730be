#include <array>
#include <cmath>
#include <limits>

#include "ops/slots.hpp"
#include "quern/error.hpp"
#include "quern/op.hpp"

namespace quern {

std::int64_t window_output(std::int64_t in, int kernel, int stride, int dilation, int pad_before,
                           int pad_after) {
  if (kernel < 1 || stride < 1 || dilation < 1 || pad_before < 0 || pad_after < 0)
    fail_input(
        "window: kernel {}, stride {} and dilation {} must be at least 1, padding {} and {} at least 0",
        kernel, stride, dilation, pad_before, pad_after);
  const std::int64_t dilated = std::int64_t{dilation} * (kernel - 1) + 1;
  const std::int64_t padded = in + pad_before + pad_after;
  if (dilated > padded)
    fail_input("window: {} wide with dilation, it does not fit an input of {} with padding {} and {}",
               dilated, in, pad_before, pad_after);
  return (padded - dilated) / stride + 1;
}

namespace {

using Extents = std::array<std::int64_t, 2>;

/// The operands of one description under the names of the contract. Every check that fails throws an input
/// error naming the operation, the slot, what was expected and what was found.
class Operands {
 public:
  explicit Operands(const OpDesc& desc) : desc_(desc), slots_(slots_of(desc)) {
    check_list("input", slots_.inputs, desc.inputs);
    check_list("output", slots_.outputs, desc.outputs);
  }

  /// The shape of a slot that must be there, which must have between `low` and `high` dimensions.
  const Shape& shape(const char* name, int low, int high) const {
    const Shape* found = nullptr;
    for_each(name, [&](const char* role, const TensorDesc& tensor) {
      const int rank = tensor.shape.rank();
      if (rank < low || rank > high)
        fail_input("{}: {} {}: expected {} dimensions, got {}", to_string(desc_.op), role, name,
                   low == high ? fmt::format("{}", low) : fmt::format("{} to {}", low, high),
                   to_string(tensor.shape));
      found = &tensor.shape;
    });
    QUERN_REQUIRE(found != nullptr, "{} has no slot {}", to_string(desc_.op), name);
    return *found;
  }
  const Shape& shape(const char* name, int rank) const { return shape(name, rank, rank); }

  /// Every slot of this name has this shape; a slot that the attributes leave out is no error.
  void expect(const char* name, const Shape& expected) const {
    for_each(name, [&](const char* role, const TensorDesc& tensor) {
      if (tensor.shape != expected)
        fail_input("{}: {} {}: expected {}, got {}", to_string(desc_.op), role, name, to_string(expected),
                   to_string(tensor.shape));
    });
  }

  template <class... Args>
  void require(bool condition, fmt::format_string<Args...> format, Args&&... args) const {
    if (!condition)
      fail_input("{}: {}", to_string(desc_.op), fmt::format(format, std::forward<Args>(args)...));
  }

  /// Extents P and Q of a window over an image [N,H,W,C].
  Extents window(const Shape& image, const Window& w, int dilation_h = 1, int dilation_w = 1) const {
    try {
      return {window_output(image[1], w.r, w.stride_h, dilation_h, w.pad_top, w.pad_bottom),
              window_output(image[2], w.s, w.stride_w, dilation_w, w.pad_left, w.pad_right)};
    } catch (const Error& error) {
      fail_input("{}: image {}: {}", to_string(desc_.op), to_string(image), error.what());
    }
  }

  /// A pooling window: each one sees at least one element of the image.
  Extents pool_window(const Shape& image, const Window& w, bool has_argmax) const {
    const Extents extents = window(image, w);
    require(w.pad_top < w.r && w.pad_bottom < w.r && w.pad_left < w.s && w.pad_right < w.s,
            "padding must be smaller than the {}x{} pooling window, got top {} left {} bottom {} right {}",
            w.r, w.s, w.pad_top, w.pad_left, w.pad_bottom, w.pad_right);
    require(!has_argmax || std::int64_t{w.r} * w.s <= 256,
            "a pooling window with an argmax has at most 256 elements, got {}x{}", w.r, w.s);
    return extents;
  }

 private:
  template <class F>
  void for_each(const char* name, const F& visit) const {
    const std::string_view wanted(name);
    for (std::size_t i = 0; i < desc_.inputs.size(); ++i)
      if (slots_.inputs[i].name == wanted) visit("input", desc_.inputs[i]);
    for (std::size_t i = 0; i < desc_.outputs.size(); ++i)
      if (slots_.outputs[i].name == wanted) visit("output", desc_.outputs[i]);
  }

  void check_list(const char* role, const std::vector<Slot>& slots,
                  const std::vector<TensorDesc>& tensors) const {
    if (slots.size() != tensors.size()) {
      std::vector<const char*> names;
      for (const Slot& slot : slots) names.push_back(slot.name);
      fail_input("{}: expected {} {}s ({}), got {}", to_string(desc_.op), slots.size(), role,
                 fmt::join(names, ", "), tensors.size());
    }
    for (std::size_t i = 0; i < slots.size(); ++i) check_tensor(role, slots[i], tensors[i]);
  }

  void check_tensor(const char* role, const Slot& slot, const TensorDesc& tensor) const {
    const bool bf16 = slot.type == SlotType::activation && desc_.precision == Precision::bf16;
    if (tensor.dtype != dtype_of(slot.type) && !(bf16 && tensor.dtype == DType::bf16))
      fail_input("{}: {} {}: expected {}{}, got {}", to_string(desc_.op), role, slot.name,
                 to_string(dtype_of(slot.type)), bf16 ? " or bf16" : "", to_string(tensor.dtype));
    for (const std::int64_t extent : tensor.shape.extents())
      if (extent < 1)
        fail_input("{}: {} {}: expected extents of at least 1, got {}", to_string(desc_.op), role, slot.name,
                   to_string(tensor.shape));
    if (slot.type == SlotType::step && tensor.shape != Shape{sizeof(StepScalars)})
      fail_input("{}: {} {}: expected {}, got {}", to_string(desc_.op), role, slot.name, sizeof(StepScalars),
                 to_string(tensor.shape));
    if (slot.type == SlotType::steps &&
        (tensor.shape.rank() != 2 || tensor.shape != Shape{tensor.shape[0], sizeof(StepScalars)}))
      fail_input("{}: {} {}: expected [S,{}], got {}", to_string(desc_.op), role, slot.name,
                 sizeof(StepScalars), to_string(tensor.shape));
  }

  static DType dtype_of(SlotType type) {
    switch (type) {
      case SlotType::f32:
      case SlotType::activation:
        return DType::f32;
      case SlotType::f64:
        return DType::f64;
      case SlotType::i32:
        return DType::i32;
      case SlotType::u32:
        return DType::u32;
      case SlotType::u8:
      case SlotType::step:
      case SlotType::steps:
        break;
    }
    return DType::u8;
  }

  const OpDesc& desc_;
  SlotLists slots_;
};

/// The last extent of [.., C].
std::int64_t channels(const Shape& shape) {
  return shape[shape.rank() - 1];
}

void input_batch(const OpDesc& desc, const Operands& operands) {
  const auto& attrs = desc.as<InputBatchAttrs>();
  const Shape& images = operands.shape("images", 4);
  const Shape& x = operands.shape("x", 4);
  operands.shape("order", 1);
  operands.expect("labels", {images[0]});
  operands.expect("x", {x[0], images[1], images[2], images[3]});
  operands.expect("y", {x[0]});
  operands.require(std::isfinite(attrs.mean), "mean must be finite, got {}", attrs.mean);
  operands.require(std::isfinite(attrs.stddev) && attrs.stddev > 0, "stddev must be positive, got {}",
                   attrs.stddev);
  const Augment& augment = attrs.augment;
  operands.require(augment.shift >= 0 && std::isfinite(augment.shift), "shift must be at least 0, got {}",
                   augment.shift);
  operands.require(augment.rotate >= 0 && augment.rotate <= 180, "rotate must be in [0, 180] degrees, got {}",
                   augment.rotate);
  operands.require(augment.scale >= 0 && augment.scale < 1, "scale must be in [0, 1), got {}", augment.scale);
  operands.require(augment.shear >= 0 && augment.shear < 90, "shear must be in [0, 90) degrees, got {}",
                   augment.shear);
  operands.require(augment.elastic >= 0 && std::isfinite(augment.elastic),
                   "elastic must be at least 0, got {}", augment.elastic);
  operands.require(augment.erase >= 0 && augment.erase <= 1 << 16,
                   "erase must be in [0, 65536] pixels, got {}", augment.erase);
  operands.require(augment.flip >= 0 && augment.flip <= 1, "flip must be in [0, 1], got {}", augment.flip);
  operands.require(augment.crop >= 0 && augment.crop <= 1024, "crop must be in [0, 1024] pixels, got {}",
                   augment.crop);
}

void conv2d(const OpDesc& desc, const Operands& operands) {
  const auto& attrs = desc.as<Conv2dAttrs>();
  const bool to_data = desc.op.direction == Direction::backward_data;
  operands.require(!attrs.gather || desc.op.direction == Direction::forward ||
                       desc.op.direction == Direction::backward_weights,
                   "gather is for forward and backward_weights: a dataset has no gradient");
  const Shape& y = operands.shape(desc.op.direction == Direction::forward ? "y" : "dy", 4);
  Shape x = operands.shape(attrs.gather ? "images" : to_data ? "dx" : "x", 4);
  if (attrs.gather) {
    x = {y[0], x[1], x[2], x[3]};
    operands.shape("order", 1);
    operands.require(std::isfinite(attrs.mean), "mean must be finite, got {}", attrs.mean);
    operands.require(std::isfinite(attrs.stddev) && attrs.stddev > 0, "stddev must be positive, got {}",
                     attrs.stddev);
  }
  const std::int64_t c = x[3], k = y[3];
  operands.require(attrs.groups >= 1 && c % attrs.groups == 0 && k % attrs.groups == 0,
                   "groups must divide {} input and {} output channels, got {}", c, k, attrs.groups);
  const auto [p, q] = operands.window(x, attrs.window, attrs.dilation_h, attrs.dilation_w);
  const Shape weights{k, attrs.window.r, attrs.window.s, c / attrs.groups};
  operands.expect("x", x);
  operands.expect("dx", x);
  operands.expect("y", {x[0], p, q, k});
  operands.expect("dy", {x[0], p, q, k});
  operands.expect("w", weights);
  operands.expect("dw", weights);
  operands.expect("bias", {k});
  operands.expect("dbias", {k});
  operands.expect("stats", {2, k});
}

void dense(const OpDesc& desc, const Operands& operands) {
  const bool to_data = desc.op.direction == Direction::backward_data;
  const Shape& x = operands.shape(to_data ? "dx" : "x", 2);
  const Shape& y = operands.shape(desc.op.direction == Direction::forward ? "y" : "dy", 2);
  operands.expect("x", x);
  operands.expect("dx", x);
  operands.expect("y", {x[0], y[1]});
  operands.expect("dy", {x[0], y[1]});
  operands.expect("w", {y[1], x[1]});
  operands.expect("dw", {y[1], x[1]});
  operands.expect("bias", {y[1]});
  operands.expect("dbias", {y[1]});
  operands.expect("stats", {2, y[1]});
}

void batchnorm(const OpDesc& desc, const Operands& operands) {
  const auto& attrs = desc.as<BatchNormAttrs>();
  const Shape& x = attrs.pool ? operands.shape("x", 4) : operands.shape("x", 2, Shape::kMaxRank);
  const std::int64_t c = channels(x);
  Shape y = x;
  if (attrs.pool) {
    const auto [p, q] = operands.pool_window(x, attrs.window, desc.op.direction != Direction::inference);
    y = {x[0], p, q, c};
  }
  operands.expect("y", y);
  operands.expect("dy", y);
  operands.expect("argmax", y);
  operands.expect("dx", x);
  for (const char* name : {"gamma", "beta", "running_mean", "running_var", "dgamma", "dbeta"})
    operands.expect(name, {c});
  operands.expect("stats", {2, c});
  operands.expect("saved", {2, c});
  operands.require(attrs.momentum >= 0 && attrs.momentum <= 1, "momentum must be in [0, 1], got {}",
                   attrs.momentum);
  operands.require(attrs.epsilon > 0 && std::isfinite(attrs.epsilon), "epsilon must be positive, got {}",
                   attrs.epsilon);
}

void relu(const OpDesc& desc, const Operands& operands) {
  const bool forward = desc.op.direction == Direction::forward;
  const Shape& shape = operands.shape(forward ? "x" : "dy", 1, Shape::kMaxRank);
  operands.expect("y", shape);
  operands.expect("dx", shape);
}

void pool2d(const OpDesc& desc, const Operands& operands) {
  const auto& attrs = desc.as<Pool2dAttrs>();
  const bool forward = desc.op.direction == Direction::forward;
  const Shape& x = operands.shape(forward ? "x" : "dx", 4);
  const bool has_argmax = desc.op.kind == OpKind::maxpool2d && (!forward || attrs.save_argmax);
  const auto [p, q] = operands.pool_window(x, attrs.window, has_argmax);
  operands.expect("x", x);
  operands.expect("y", {x[0], p, q, x[3]});
  operands.expect("dy", {x[0], p, q, x[3]});
  operands.expect("argmax", {x[0], p, q, x[3]});
}

void global_avgpool(const OpDesc& desc, const Operands& operands) {
  const Shape& x = operands.shape(desc.op.direction == Direction::forward ? "x" : "dx", 4);
  operands.expect("x", x);
  operands.expect("y", {x[0], x[3]});
  operands.expect("dy", {x[0], x[3]});
}

void dropout(const OpDesc& desc, const Operands& operands) {
  const bool forward = desc.op.direction == Direction::forward;
  const float p = desc.as<DropoutAttrs>().probability;
  const Shape& shape = operands.shape(forward ? "x" : "dy", 1, Shape::kMaxRank);
  operands.expect(forward ? "y" : "dx", shape);
  operands.require(p >= 0 && p < 1, "probability must be in [0, 1), got {}", p);
  operands.require(desc.as<DropoutAttrs>().stream < (1u << 24), "stream must be below 2^24, got {}",
                   desc.as<DropoutAttrs>().stream);
}

void add(const OpDesc&, const Operands& operands) {
  const Shape& shape = operands.shape("a", 1, Shape::kMaxRank);
  operands.expect("b", shape);
  operands.expect("y", shape);
}

void softmax_xent(const OpDesc& desc, const Operands& operands) {
  const auto& attrs = desc.as<SoftmaxXentAttrs>();
  const Shape& logits = operands.shape("logits", 2);
  if (attrs.gather) {
    operands.shape("labels", 1);
    operands.shape("order", 1);
  } else {
    operands.expect("labels", {logits[0]});
  }
  operands.expect("loss", {logits[0]});
  operands.expect("dlogits", logits);
  operands.expect("metrics", {sizeof(Metrics) / sizeof(double)});
  operands.require(attrs.label_smoothing >= 0 && attrs.label_smoothing <= 1,
                   "label_smoothing must be in [0, 1], got {}", attrs.label_smoothing);
  operands.require(std::isfinite(attrs.gradient_scale), "gradient_scale must be finite, got {}",
                   attrs.gradient_scale);
}

void metrics(const OpDesc&, const Operands& operands) {
  const Shape& logits = operands.shape("logits", 2);
  operands.expect("loss", {logits[0]});
  operands.expect("labels", {logits[0]});
  operands.expect("metrics", {sizeof(Metrics) / sizeof(double)});
}

const Shape kGuardShape{sizeof(StepGuard) / sizeof(double)};

void guard(const OpDesc& desc, const Operands& operands) {
  operands.shape("loss", 1);
  operands.shape("grads", 1);
  for (const char* name : {"metrics", "kept_metrics"})
    operands.expect(name, {sizeof(Metrics) / sizeof(double)});
  operands.expect("guard", kGuardShape);
  if (!desc.as<GuardAttrs>().statistics) return;
  const Shape& running = operands.shape("running", 1);
  for (const char* name : {"running", "kept_running"}) operands.expect(name, running);
}

void optimizer(const OpDesc& desc, const Operands& operands) {
  const auto& attrs = desc.as<OptimizerAttrs>();
  const Shape& params = operands.shape("params", 1);
  for (const char* name : {"grads", "params", "slot1", "slot2"}) operands.expect(name, params);
  operands.expect("guard", kGuardShape);
  operands.require(attrs.momentum >= 0 && attrs.momentum < 1, "momentum must be in [0, 1), got {}",
                   attrs.momentum);
  operands.require(attrs.beta1 >= 0 && attrs.beta1 < 1, "beta1 must be in [0, 1), got {}", attrs.beta1);
  operands.require(attrs.beta2 >= 0 && attrs.beta2 < 1, "beta2 must be in [0, 1), got {}", attrs.beta2);
  operands.require(attrs.epsilon > 0 && std::isfinite(attrs.epsilon), "epsilon must be positive, got {}",
                   attrs.epsilon);
  operands.require(attrs.weight_decay >= 0 && std::isfinite(attrs.weight_decay),
                   "weight_decay must be at least 0, got {}", attrs.weight_decay);
  operands.require(attrs.clip_norm >= 0 && std::isfinite(attrs.clip_norm),
                   "clip_norm must be at least 0, got {}", attrs.clip_norm);
  operands.require(!attrs.segments.empty(), "expected at least one parameter segment, got none");
  std::int64_t end = 0;
  for (const ParamSegment& segment : attrs.segments) {
    operands.require(
        segment.offset >= end && segment.elements >= 1 && segment.offset <= params[0] - segment.elements,
        "segments must be in order, apart and inside the {} parameters, got {} elements at {} after {}",
        params[0], segment.elements, segment.offset, end);
    end = segment.offset + segment.elements;
  }
}

void ema(const OpDesc&, const Operands& operands) {
  operands.expect("average", operands.shape("values", 1));
  operands.expect("guard", kGuardShape);
}

}  // namespace

void validate(const OpDesc& desc) {
  const Operands operands(desc);
  switch (desc.op.kind) {
    case OpKind::input_batch:
      return input_batch(desc, operands);
    case OpKind::conv2d:
      return conv2d(desc, operands);
    case OpKind::dense:
      return dense(desc, operands);
    case OpKind::batchnorm:
      return batchnorm(desc, operands);
    case OpKind::relu:
      return relu(desc, operands);
    case OpKind::maxpool2d:
    case OpKind::avgpool2d:
      return pool2d(desc, operands);
    case OpKind::global_avgpool:
      return global_avgpool(desc, operands);
    case OpKind::dropout:
      return dropout(desc, operands);
    case OpKind::add:
      return add(desc, operands);
    case OpKind::softmax_xent:
      return softmax_xent(desc, operands);
    case OpKind::metrics:
      return metrics(desc, operands);
    case OpKind::guard:
      return guard(desc, operands);
    case OpKind::optimizer:
      return optimizer(desc, operands);
    case OpKind::ema:
      return ema(desc, operands);
    case OpKind::flatten:
      break;  // refused by Operands
  }
}

}  // namespace quern
