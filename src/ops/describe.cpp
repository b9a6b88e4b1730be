#include "ops/slots.hpp"
#include "quern/error.hpp"
#include "quern/op.hpp"

namespace quern {

namespace {

std::string pair(const char* name, int a, int b) {
  return a == b ? fmt::format(" {} {}", name, a) : fmt::format(" {} {}x{}", name, a, b);
}

/// " 3x3 stride 2 pad 1,0,1,0 dilation 2"; what has its default is left out, except the stride.
std::string window(const Window& w, int dilation_h = 1, int dilation_w = 1) {
  std::string text = fmt::format(" {}x{}{}", w.r, w.s, pair("stride", w.stride_h, w.stride_w));
  if (w.pad_top == w.pad_left && w.pad_top == w.pad_bottom && w.pad_top == w.pad_right) {
    if (w.pad_top != 0) text += fmt::format(" pad {}", w.pad_top);
  } else {
    text += fmt::format(" pad {},{},{},{}", w.pad_top, w.pad_left, w.pad_bottom, w.pad_right);
  }
  if (dilation_h != 1 || dilation_w != 1) text += pair("dilation", dilation_h, dilation_w);
  return text;
}

std::string flag(bool set, const char* name) {
  return set ? fmt::format(" {}", name) : std::string();
}

struct AttrText {
  Direction direction;

  std::string operator()(const NoAttrs&) const { return {}; }
  std::string operator()(const GuardAttrs& a) const { return flag(a.statistics, "statistics"); }
  std::string operator()(const EmaAttrs& a) const {
    return flag(a.guarded, "guarded") + flag(a.advance, "advance");
  }
  std::string operator()(const InputBatchAttrs& a) const {
    std::string text = fmt::format(" mean {} stddev {}", a.mean, a.stddev);
    if (a.augment.enabled())
      text += fmt::format(" shift {} rotate {} scale {} shear {}", a.augment.shift, a.augment.rotate,
                          a.augment.scale, a.augment.shear);
    if (a.augment.elastic != 0) text += fmt::format(" elastic {}", a.augment.elastic);
    if (a.augment.erase != 0) text += fmt::format(" erase {}", a.augment.erase);
    if (a.augment.flip != 0) text += fmt::format(" flip {}", a.augment.flip);
    if (a.augment.crop != 0) text += fmt::format(" crop {}", a.augment.crop);
    return text;
  }
  std::string operator()(const Conv2dAttrs& a) const {
    std::string text = window(a.window, a.dilation_h, a.dilation_w);
    if (a.groups != 1) text += fmt::format(" groups {}", a.groups);
    if (a.gather) text += fmt::format(" gather mean {} stddev {}", a.mean, a.stddev);
    return text + epilogue(a.bias, a.relu, a.stats, a.mask);
  }
  std::string operator()(const DenseAttrs& a) const { return epilogue(a.bias, a.relu, a.stats, a.mask); }
  std::string operator()(const BatchNormAttrs& a) const {
    std::string text = fmt::format(" epsilon {}", a.epsilon);
    if (direction == Direction::forward) text += fmt::format(" momentum {}", a.momentum);
    text += flag(a.relu, "relu") + flag(a.stats && direction == Direction::forward, "stats") +
            flag(a.mask && direction == Direction::backward, "mask");
    return a.pool ? text + " pool" + window(a.window) : text;
  }
  std::string operator()(const Pool2dAttrs& a) const {
    return window(a.window) + flag(a.save_argmax && direction == Direction::forward, "argmax") +
           flag(a.mask && direction == Direction::backward, "mask") +
           flag(a.count_include_pad, "count_include_pad");
  }
  std::string operator()(const GlobalPoolAttrs& a) const {
    return flag(a.mask && direction == Direction::backward, "mask");
  }
  std::string operator()(const DropoutAttrs& a) const {
    return fmt::format(" probability {} stream {}", a.probability, a.stream);
  }
  std::string operator()(const AddAttrs& a) const { return flag(a.relu, "relu"); }
  std::string operator()(const SoftmaxXentAttrs& a) const {
    std::string text;
    if (a.label_smoothing != 0) text += fmt::format(" label_smoothing {}", a.label_smoothing);
    if (a.gradient) text += fmt::format(" gradient scale {}", a.gradient_scale);
    return text + flag(a.metrics, "metrics") + flag(a.gather, "gather");
  }
  std::string operator()(const OptimizerAttrs& a) const {
    std::string text = fmt::format(" {}", to_string(a.kind));
    if (a.slots() == 1) text += fmt::format(" momentum {}", a.momentum);
    if (a.slots() == 2) text += fmt::format(" beta {},{} epsilon {}", a.beta1, a.beta2, a.epsilon);
    if (a.weight_decay != 0) text += fmt::format(" weight_decay {}", a.weight_decay);
    if (a.clip_norm != 0) text += fmt::format(" clip_norm {}", a.clip_norm);
    return text + fmt::format(" segments {}", a.segments.size()) + flag(a.guarded, "guarded") +
           flag(a.advance, "advance");
  }

 private:
  /// Only what this direction looks at.
  std::string epilogue(bool bias, bool relu, bool stats, bool mask) const {
    const bool forward = direction == Direction::forward;
    const bool to_data = direction == Direction::backward_data;
    return flag(bias && !to_data, "bias") + flag(relu && forward, "relu") + flag(stats && forward, "stats") +
           flag(mask && (to_data || direction == Direction::backward), "mask");
  }
};

std::string operand_list(const std::vector<Slot>& slots, const std::vector<TensorDesc>& tensors) {
  std::string text;
  for (std::size_t i = 0; i < tensors.size(); ++i)
    text += fmt::format(" {}={}", i < slots.size() ? slots[i].name : "?", to_string(tensors[i]));
  return text;
}

}  // namespace

std::string describe(const OpDesc& desc) {
  const SlotLists slots = slots_of(desc);
  std::string text = to_string(desc.op) + operand_list(slots.inputs, desc.inputs) + " ->" +
                     operand_list(slots.outputs, desc.outputs) +
                     std::visit(AttrText{desc.op.direction}, desc.attrs);
  if (desc.precision != Precision::fp32) text += fmt::format(" {}", to_string(desc.precision));
  return text;
}

}  // namespace quern
