#include "quern/op.hpp"

#include "quern/error.hpp"
#include "quern/suggest.hpp"

namespace quern {

const char* to_string(OpKind kind) noexcept {
  switch (kind) {
    case OpKind::input_batch:
      return "input_batch";
    case OpKind::conv2d:
      return "conv2d";
    case OpKind::dense:
      return "dense";
    case OpKind::batchnorm:
      return "batchnorm";
    case OpKind::relu:
      return "relu";
    case OpKind::maxpool2d:
      return "maxpool2d";
    case OpKind::avgpool2d:
      return "avgpool2d";
    case OpKind::global_avgpool:
      return "global_avgpool";
    case OpKind::dropout:
      return "dropout";
    case OpKind::add:
      return "add";
    case OpKind::flatten:
      return "flatten";
    case OpKind::softmax_xent:
      return "softmax_xent";
    case OpKind::metrics:
      return "metrics";
    case OpKind::guard:
      return "guard";
    case OpKind::optimizer:
      return "optimizer";
    case OpKind::ema:
      break;
  }
  return "ema";
}

const char* to_string(Direction direction) noexcept {
  switch (direction) {
    case Direction::forward:
      return "forward";
    case Direction::inference:
      return "inference";
    case Direction::backward:
      return "backward";
    case Direction::backward_data:
      return "backward_data";
    case Direction::backward_weights:
      break;
  }
  return "backward_weights";
}

const char* to_string(Precision precision) noexcept {
  switch (precision) {
    case Precision::fp32:
      return "fp32";
    case Precision::tf32:
      return "tf32";
    case Precision::bf16:
      break;
  }
  return "bf16";
}

const char* to_string(OptimizerKind kind) noexcept {
  switch (kind) {
    case OptimizerKind::sgd:
      return "sgd";
    case OptimizerKind::momentum:
      return "momentum";
    case OptimizerKind::nesterov:
      return "nesterov";
    case OptimizerKind::adam:
      return "adam";
    case OptimizerKind::adamw:
      break;
  }
  return "adamw";
}

std::string to_string(OpKey key) {
  return fmt::format("{}.{}", to_string(key.kind), to_string(key.direction));
}

const std::vector<OpKey>& all_operations() {
  static const std::vector<OpKey> keys = {
      {OpKind::input_batch, Direction::forward},
      {OpKind::conv2d, Direction::forward},
      {OpKind::conv2d, Direction::backward_data},
      {OpKind::conv2d, Direction::backward_weights},
      {OpKind::conv2d, Direction::backward},
      {OpKind::dense, Direction::forward},
      {OpKind::dense, Direction::backward_data},
      {OpKind::dense, Direction::backward_weights},
      {OpKind::dense, Direction::backward},
      {OpKind::batchnorm, Direction::forward},
      {OpKind::batchnorm, Direction::inference},
      {OpKind::batchnorm, Direction::backward},
      {OpKind::relu, Direction::forward},
      {OpKind::relu, Direction::backward},
      {OpKind::maxpool2d, Direction::forward},
      {OpKind::maxpool2d, Direction::backward},
      {OpKind::avgpool2d, Direction::forward},
      {OpKind::avgpool2d, Direction::backward},
      {OpKind::global_avgpool, Direction::forward},
      {OpKind::global_avgpool, Direction::backward},
      {OpKind::dropout, Direction::forward},
      {OpKind::dropout, Direction::backward},
      {OpKind::add, Direction::forward},
      {OpKind::softmax_xent, Direction::forward},
      {OpKind::metrics, Direction::forward},
      {OpKind::guard, Direction::forward},
      {OpKind::optimizer, Direction::forward},
      {OpKind::ema, Direction::forward},
  };
  return keys;
}

bool is_merged(const OpDesc& desc) {
  if (const auto* conv = std::get_if<Conv2dAttrs>(&desc.attrs)) return conv->gather;
  const auto* loss = std::get_if<SoftmaxXentAttrs>(&desc.attrs);
  return loss != nullptr && (loss->gather || loss->metrics);
}

OpKey parse_op_key(std::string_view text) {
  std::vector<std::string> names;
  for (const OpKey& key : all_operations()) {
    names.push_back(to_string(key));
    if (names.back() == text) return key;
  }
  fail_input("unknown operation '{}': the operations are {}{}", text, fmt::join(names, ", "),
             did_you_mean(text, names));
}

}  // namespace quern
