#include "ops/slots.hpp"

#include "quern/error.hpp"

namespace quern {

namespace {

template <class T>
const T& attributes(const OpDesc& desc) {
  const T* attrs = std::get_if<T>(&desc.attrs);
  if (attrs == nullptr) fail_input("{}: the attributes are those of another operation", to_string(desc.op));
  return *attrs;
}

/// A list under construction; `when` adds a slot that an attribute switches on.
class List {
 public:
  List& add(const char* name, SlotType type) {
    slots_.push_back({name, type});
    return *this;
  }
  List& activation(const char* name) { return add(name, SlotType::activation); }
  List& f32(const char* name) { return add(name, SlotType::f32); }
  List& when(bool present, const char* name, SlotType type) { return present ? add(name, type) : *this; }
  operator std::vector<Slot>() const { return slots_; }

 private:
  std::vector<Slot> slots_;
};

SlotLists input_batch(const OpDesc& desc) {
  attributes<InputBatchAttrs>(desc);
  return {List()
              .add("images", SlotType::u8)
              .add("labels", SlotType::u8)
              .add("order", SlotType::u32)
              .add("step", SlotType::step),
          List().activation("x").add("y", SlotType::i32)};
}

/// An operand that is there, or is gathered from the dataset.
List& gathered(List& list, bool gather, const char* dataset, const char* name, SlotType type) {
  if (!gather) return list.add(name, type);
  return list.add(dataset, SlotType::u8).add("order", SlotType::u32).add("step", SlotType::step);
}

bool gathers(const Conv2dAttrs& attrs) {
  return attrs.gather;
}
bool gathers(const DenseAttrs&) {
  return false;
}

/// conv2d and dense have the same slots.
template <class T>
SlotLists matrix_product(const OpDesc& desc) {
  const T& attrs = attributes<T>(desc);
  List in;
  switch (desc.op.direction) {
    case Direction::forward:
      gathered(in, gathers(attrs), "images", "x", SlotType::activation);
      return {in.f32("w").when(attrs.bias, "bias", SlotType::f32),
              List().activation("y").when(attrs.stats, "stats", SlotType::f32)};
    case Direction::backward_data:
      return {List().activation("dy").f32("w").when(attrs.mask, "x", SlotType::activation),
              List().activation("dx")};
    case Direction::backward:
      return {List().activation("dy").activation("x").f32("w"),
              List().activation("dx").f32("dw").when(attrs.bias, "dbias", SlotType::f32)};
    default:
      gathered(in.activation("dy"), gathers(attrs), "images", "x", SlotType::activation);
      return {in, List().f32("dw").when(attrs.bias, "dbias", SlotType::f32)};
  }
}

SlotLists batchnorm(const OpDesc& desc) {
  const auto& attrs = attributes<BatchNormAttrs>(desc);
  if (desc.op.direction == Direction::backward)
    return {List()
                .activation("dy")
                .activation("x")
                .f32("gamma")
                .f32("saved")
                .when(attrs.relu, "y", SlotType::activation)
                .when(attrs.pool, "argmax", SlotType::u8),
            List().activation("dx").f32("dgamma").f32("dbeta")};
  List in;
  in.activation("x").f32("gamma").f32("beta").f32("running_mean").f32("running_var");
  if (desc.op.direction == Direction::inference) return {in, List().activation("y")};
  return {in.when(attrs.stats, "stats", SlotType::f32), List()
                                                            .activation("y")
                                                            .f32("saved")
                                                            .f32("running_mean")
                                                            .f32("running_var")
                                                            .when(attrs.pool, "argmax", SlotType::u8)};
}

SlotLists relu(const OpDesc& desc) {
  attributes<NoAttrs>(desc);
  if (desc.op.direction == Direction::forward) return {List().activation("x"), List().activation("y")};
  return {List().activation("dy").activation("y"), List().activation("dx")};
}

SlotLists maxpool2d(const OpDesc& desc) {
  const auto& attrs = attributes<Pool2dAttrs>(desc);
  if (desc.op.direction == Direction::forward)
    return {List().activation("x"), List().activation("y").when(attrs.save_argmax, "argmax", SlotType::u8)};
  return {List().activation("dy").add("argmax", SlotType::u8).when(attrs.mask, "y", SlotType::activation),
          List().activation("dx")};
}

/// avgpool2d and global_avgpool have the same slots.
template <class T>
SlotLists average_pool(const OpDesc& desc) {
  const T& attrs = attributes<T>(desc);
  if (desc.op.direction == Direction::forward) return {List().activation("x"), List().activation("y")};
  return {List().activation("dy").when(attrs.mask, "x", SlotType::activation), List().activation("dx")};
}

SlotLists dropout(const OpDesc& desc) {
  attributes<DropoutAttrs>(desc);
  if (desc.op.direction == Direction::forward)
    return {List().activation("x").add("step", SlotType::step), List().activation("y")};
  return {List().activation("dy").add("step", SlotType::step), List().activation("dx")};
}

SlotLists add(const OpDesc& desc) {
  attributes<AddAttrs>(desc);
  return {List().activation("a").activation("b"), List().activation("y")};
}

SlotLists softmax_xent(const OpDesc& desc) {
  const auto& attrs = attributes<SoftmaxXentAttrs>(desc);
  List in;
  gathered(in.activation("logits"), attrs.gather, "labels", "labels", SlotType::i32);
  return {in.when(attrs.metrics, "metrics", SlotType::f64),
          List()
              .f32("loss")
              .when(attrs.gradient, "dlogits", SlotType::activation)
              .when(attrs.metrics, "metrics", SlotType::f64)};
}

SlotLists metrics(const OpDesc& desc) {
  attributes<NoAttrs>(desc);
  return {List().f32("loss").activation("logits").add("labels", SlotType::i32).add("metrics", SlotType::f64),
          List().add("metrics", SlotType::f64)};
}

SlotLists guard(const OpDesc& desc) {
  const bool statistics = attributes<GuardAttrs>(desc).statistics;
  const auto state = [&](List list) -> List {
    return list.add("metrics", SlotType::f64)
        .add("kept_metrics", SlotType::f64)
        .add("guard", SlotType::f64)
        .when(statistics, "running", SlotType::f32)
        .when(statistics, "kept_running", SlotType::f32);
  };
  return {state(List().f32("loss").f32("grads")), state(List())};
}

SlotLists optimizer(const OpDesc& desc) {
  const auto& attrs = attributes<OptimizerAttrs>(desc);
  const int state = attrs.slots();
  return {List()
              .add("step", SlotType::step)
              .f32("grads")
              .f32("params")
              .when(state >= 1, "slot1", SlotType::f32)
              .when(state >= 2, "slot2", SlotType::f32)
              .when(attrs.guarded, "guard", SlotType::f64)
              .when(attrs.advance, "steps", SlotType::steps),
          List()
              .f32("params")
              .when(state >= 1, "slot1", SlotType::f32)
              .when(state >= 2, "slot2", SlotType::f32)
              .when(attrs.advance, "step", SlotType::step)};
}

SlotLists ema(const OpDesc& desc) {
  const auto& attrs = attributes<EmaAttrs>(desc);
  return {List()
              .add("step", SlotType::step)
              .f32("values")
              .f32("average")
              .when(attrs.guarded, "guard", SlotType::f64)
              .when(attrs.advance, "steps", SlotType::steps),
          List().f32("average").when(attrs.advance, "step", SlotType::step)};
}

}  // namespace

SlotLists slots_of(const OpDesc& desc) {
  bool known = false;
  for (const OpKey& key : all_operations()) known = known || key == desc.op;
  if (!known) fail_input("{} is not an operation", to_string(desc.op));
  switch (desc.op.kind) {
    case OpKind::input_batch:
      return input_batch(desc);
    case OpKind::conv2d:
      return matrix_product<Conv2dAttrs>(desc);
    case OpKind::dense:
      return matrix_product<DenseAttrs>(desc);
    case OpKind::batchnorm:
      return batchnorm(desc);
    case OpKind::relu:
      return relu(desc);
    case OpKind::maxpool2d:
      return maxpool2d(desc);
    case OpKind::avgpool2d:
      return average_pool<Pool2dAttrs>(desc);
    case OpKind::global_avgpool:
      return average_pool<GlobalPoolAttrs>(desc);
    case OpKind::dropout:
      return dropout(desc);
    case OpKind::add:
      return add(desc);
    case OpKind::softmax_xent:
      return softmax_xent(desc);
    case OpKind::metrics:
      return metrics(desc);
    case OpKind::guard:
      return guard(desc);
    case OpKind::optimizer:
      return optimizer(desc);
    case OpKind::ema:
      return ema(desc);
    case OpKind::flatten:
      break;  // a view, refused above
  }
  fail_input("{} is not an operation", to_string(desc.op));
}

}  // namespace quern
