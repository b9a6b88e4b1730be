#include "exchange/foreign_layout.hpp"

#include <map>

#include "exchange/channel_order.hpp"
#include "graph/shapes.hpp"
#include "quern/error.hpp"

namespace quern {
namespace {

/// For every layer that gives a vector: the picture [1,H,W,C] it was flattened from, where the order of its
/// values then differs between homes; else rank 0.
std::map<std::string, Shape> flattened_pictures(const ModelSpec& spec) {
  const auto shapes = infer_shapes(spec);
  std::map<std::string, Shape> pictures{{"input", Shape{}}};
  for (const LayerSpec& layer : spec.layers) {
    Shape picture = pictures.at(layer.inputs[0]);
    if (layer.kind == OpKind::flatten) {
      const Shape& in = shapes.at(layer.inputs[0]);
      if (in.rank() == 4) picture = order_matters(in) ? in : Shape{};
    } else if (layer.kind == OpKind::dense) {
      picture = {};
    } else if (layer.kind == OpKind::add && !(picture == pictures.at(layer.inputs[1]))) {
      fail_input(
          "layer '{}' adds a flattened picture to another vector; PyTorch flattens channel by channel, so "
          "their values would not meet: use ONNX or Keras",
          layer.name);
    }
    pictures[layer.name] = picture;
  }
  if (pictures.at(spec.layers.back().name).rank() != 0)
    fail_input(
        "the logits of '{}' are a flattened picture; PyTorch flattens channel by channel, so the classes "
        "would change places: use ONNX or Keras",
        spec.name);
  return pictures;
}

const char* torch_name(const std::string& own) {
  if (own == "gamma") return "weight";
  if (own == "beta") return "bias";
  return own.c_str();
}
const char* keras_name(const std::string& own) {
  if (own == "weight") return "kernel";
  if (own == "running_mean") return "moving_mean";
  if (own == "running_var") return "moving_variance";
  return own.c_str();
}

std::vector<std::int64_t> extents_of(const Shape& shape) {
  const auto extents = shape.extents();
  return {extents.begin(), extents.end()};
}

ForeignTensor torch_tensor(const WeightTensor& own, const LayerSpec& layer, const std::string& part,
                           const Shape& picture) {
  ForeignTensor tensor{own, layer.name + "." + torch_name(part), extents_of(own.shape)};
  const Shape& shape = own.shape;
  if (layer.kind == OpKind::conv2d && part == "weight") {
    tensor.order = ForeignTensor::Order::conv_torch;
    tensor.shape = {shape[0], shape[3], shape[1], shape[2]};
  } else if (picture.rank() == 4 && (layer.kind == OpKind::batchnorm || part == "weight")) {
    tensor.order = ForeignTensor::Order::picture;
    tensor.picture = picture;
  }
  return tensor;
}

ForeignTensor keras_tensor(const WeightTensor& own, const LayerSpec& layer, const std::string& part) {
  ForeignTensor tensor{own, layer.name + "/" + keras_name(part), extents_of(own.shape)};
  const Shape& shape = own.shape;
  if (part != "weight") return tensor;
  if (layer.kind == OpKind::conv2d) {
    tensor.order = ForeignTensor::Order::conv_keras;
    tensor.shape = {shape[1], shape[2], shape[3], shape[0]};
  } else {
    tensor.order = ForeignTensor::Order::transposed;
    tensor.shape = {shape[1], shape[0]};
  }
  return tensor;
}

}  // namespace

std::vector<float> ForeignTensor::to_foreign(std::span<const float> values) const {
  const Shape& s = own.shape;
  switch (order) {
    case Order::conv_torch:
      return channels_first(values, s[0], s[1], s[2], s[3]);
    case Order::conv_keras:
      return channels_first(values, 1, s[0], 1, s.elements() / s[0]);
    case Order::transposed:
      return channels_first(values, 1, s[0], 1, s[1]);
    case Order::picture:
      return channels_first(values, s.elements() / picture.elements(), picture[1], picture[2], picture[3]);
    case Order::same:
      break;
  }
  return {values.begin(), values.end()};
}

std::vector<float> ForeignTensor::to_own(std::span<const float> values) const {
  const Shape& s = own.shape;
  switch (order) {
    case Order::conv_torch:
      return channels_last(values, s[0], s[1], s[2], s[3]);
    case Order::conv_keras:
      return channels_last(values, 1, s[0], 1, s.elements() / s[0]);
    case Order::transposed:
      return channels_last(values, 1, s[0], 1, s[1]);
    case Order::picture:
      return channels_last(values, s.elements() / picture.elements(), picture[1], picture[2], picture[3]);
    case Order::same:
      break;
  }
  return {values.begin(), values.end()};
}

std::vector<ForeignTensor> foreign_layout(const ModelSpec& spec, WeightHome home) {
  std::map<std::string, Shape> pictures;
  if (home == WeightHome::torch) pictures = flattened_pictures(spec);
  std::vector<ForeignTensor> tensors;
  for (const WeightTensor& own : weight_layout(spec).tensors) {
    const std::size_t dot = own.name.rfind('.');
    const std::string name = own.name.substr(0, dot), part = own.name.substr(dot + 1);
    for (const LayerSpec& layer : spec.layers)
      if (layer.name == name)
        tensors.push_back(home == WeightHome::torch
                              ? torch_tensor(own, layer, part, pictures.at(layer.inputs[0]))
                              : keras_tensor(own, layer, part));
  }
  return tensors;
}

}  // namespace quern
