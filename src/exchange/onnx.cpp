// Field numbers and enum values: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
#include <algorithm>
#include <nlohmann/json.hpp>

#include "exchange/channel_order.hpp"
#include "exchange/inference_net.hpp"
#include "graph/shapes.hpp"
#include "io/protobuf.hpp"
#include "quern/error.hpp"
#include "quern/exchange.hpp"
#include "quern/version.hpp"

namespace quern {
namespace {

constexpr std::int64_t kIrVersion = 8, kOpset = 15;
constexpr std::int64_t kFloat = 1;  // TensorProto.FLOAT

ProtoMessage attribute(const char* name, std::int64_t value) {
  ProtoMessage message;
  message.text(1, name);
  message.integer(3, value);
  message.integer(20, 2);  // INT
  return message;
}
ProtoMessage attribute(const char* name, float value) {
  ProtoMessage message;
  message.text(1, name);
  message.number(2, value);
  message.integer(20, 1);  // FLOAT
  return message;
}
ProtoMessage attribute(const char* name, std::initializer_list<std::int64_t> values) {
  ProtoMessage message;
  message.text(1, name);
  for (const std::int64_t value : values) message.integer(8, value);
  message.integer(20, 7);  // INTS
  return message;
}

/// A tensor of one free dimension, the batch, and fixed ones.
ProtoMessage value_info(const std::string& name, std::initializer_list<std::int64_t> extents,
                        const std::string& doc) {
  ProtoMessage shape, batch;
  batch.text(2, "N");
  shape.message(1, batch);
  for (const std::int64_t extent : extents) {
    ProtoMessage dimension;
    dimension.integer(1, extent);
    shape.message(1, dimension);
  }
  ProtoMessage tensor, type, info;
  tensor.integer(1, kFloat);
  tensor.message(2, shape);
  type.message(1, tensor);
  info.text(1, name);
  info.message(2, type);
  info.text(3, doc);
  return info;
}

class OnnxWriter {
 public:
  OnnxWriter(const ModelSpec& spec, InferenceNet net) : spec_(spec), net_(std::move(net)) {}

  ProtoMessage graph() {
    normalise_input();
    for (const InferenceLayer& layer : net_.layers) write(layer);
    ProtoMessage graph;
    for (const ProtoMessage& node : nodes_) graph.message(1, node);
    graph.text(2, spec_.name);
    for (const ProtoMessage& initializer : initializers_) graph.message(5, initializer);
    graph.message(11, value_info("images", {spec_.channels, spec_.height, spec_.width},
                                 "pixels scaled to [0, 1], channels first"));
    graph.message(12, value_info("logits", {output_classes(spec_)}, "softmax of these gives probabilities"));
    return graph;
  }

 private:
  /// The value a layer gives. Every name but those of the model's ends has a dot, so that none clash.
  std::string value(const std::string& layer) const {
    if (layer == "input") return normalised_ ? "input.normalised" : "images";
    return layer == net_.output ? "logits" : layer + ".out";
  }

  void node(const std::string& name, const char* type, const std::vector<std::string>& inputs,
            const std::string& output, const std::vector<ProtoMessage>& attributes = {}) {
    ProtoMessage message;
    for (const std::string& input : inputs) message.text(1, input);
    message.text(2, output);
    message.text(3, name);
    message.text(4, type);
    for (const ProtoMessage& one : attributes) message.message(5, one);
    nodes_.push_back(std::move(message));
  }

  std::string constant(const std::string& name, std::span<const std::int64_t> extents,
                       std::span<const float> values) {
    ProtoMessage message;
    message.integers(1, extents);
    message.integer(2, kFloat);
    message.text(8, name);
    message.text(9, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
    initializers_.push_back(std::move(message));
    return name;
  }
  std::string constant(const std::string& name, const std::vector<float>& values) {
    const auto length = static_cast<std::int64_t>(values.size());
    return constant(name, {&length, 1}, values);
  }

  void normalise_input() {
    normalised_ = spec_.mean != 0 || spec_.stddev != 1;
    if (!normalised_) return;
    node("input.centre", "Sub", {"images", constant("input.mean", {}, {&spec_.mean, 1})}, "input.centred");
    node("input.scale", "Div", {"input.centred", constant("input.std", {}, {&spec_.stddev, 1})},
         "input.normalised");
  }

  void write(const InferenceLayer& layer) {
    const LayerSpec& spec = layer.spec;
    const std::string x = value(spec.inputs[0]), y = value(spec.name);
    switch (spec.kind) {
      case OpKind::conv2d:
        write_conv(layer, x, y);
        break;
      case OpKind::dense:
        write_dense(layer, x, y);
        break;
      case OpKind::batchnorm:
        node(spec.name, "BatchNormalization",
             {x, constant(spec.name + ".gamma", layer.gamma), constant(spec.name + ".beta", layer.beta),
              constant(spec.name + ".running_mean", layer.mean),
              constant(spec.name + ".running_var", layer.variance)},
             y, {attribute("epsilon", spec.epsilon), attribute("momentum", spec.momentum)});
        break;
      case OpKind::relu:
        node(spec.name, "Relu", {x}, y);
        break;
      case OpKind::maxpool2d:
        node(spec.name, "MaxPool", {x}, y, window_attributes(layer));
        break;
      case OpKind::avgpool2d: {
        auto attributes = window_attributes(layer);
        attributes.push_back(attribute("count_include_pad", std::int64_t{spec.count_include_pad}));
        node(spec.name, "AveragePool", {x}, y, attributes);
        break;
      }
      case OpKind::global_avgpool:
        node(spec.name, "GlobalAveragePool", {x}, spec.name + ".pooled");
        node(spec.name + ".flatten", "Flatten", {spec.name + ".pooled"}, y,
             {attribute("axis", std::int64_t{1})});
        break;
      case OpKind::add:
        node(spec.name, "Add", {x, value(spec.inputs[1])}, y);
        break;
      case OpKind::flatten:
        write_flatten(layer, x, y);
        break;
      default:
        QUERN_REQUIRE(false, "layer '{}' has no ONNX rule", spec.name);
    }
  }

  static std::vector<ProtoMessage> window_attributes(const InferenceLayer& layer) {
    const Window window = resolve_window(layer.spec, layer.in);
    return {attribute("kernel_shape", {window.r, window.s}),
            attribute("strides", {window.stride_h, window.stride_w}),
            attribute("pads", {window.pad_top, window.pad_left, window.pad_bottom, window.pad_right})};
  }

  void write_conv(const InferenceLayer& layer, const std::string& x, const std::string& y) {
    const LayerSpec& spec = layer.spec;
    const std::int64_t depth = layer.in[3] / spec.groups;
    const std::array<std::int64_t, 4> extents{spec.units, depth, spec.kernel_h, spec.kernel_w};
    std::vector<std::string> inputs{
        x, constant(spec.name + ".weight", extents,
                    channels_first(layer.weight, spec.units, spec.kernel_h, spec.kernel_w, depth))};
    if (!layer.bias.empty()) inputs.push_back(constant(spec.name + ".bias", layer.bias));
    auto attributes = window_attributes(layer);
    attributes.push_back(attribute("dilations", {spec.dilation_h, spec.dilation_w}));
    attributes.push_back(attribute("group", std::int64_t{spec.groups}));
    node(spec.name, "Conv", inputs, y, attributes);
  }

  void write_dense(const InferenceLayer& layer, const std::string& x, const std::string& y) {
    const LayerSpec& spec = layer.spec;
    const std::array<std::int64_t, 2> extents{spec.units, layer.in[1]};
    const Shape picture = flattened_picture(spec.inputs[0]);
    std::vector<std::string> inputs{
        x, constant(spec.name + ".weight", extents,
                    picture.rank() == 0
                        ? layer.weight
                        : channels_first(layer.weight, spec.units, picture[1], picture[2], picture[3]))};
    if (!layer.bias.empty()) inputs.push_back(constant(spec.name + ".bias", layer.bias));
    node(spec.name, "Gemm", inputs, y, {attribute("transB", std::int64_t{1})});
  }

  void write_flatten(const InferenceLayer& layer, const std::string& x, const std::string& y) {
    std::string source = x;
    if (order_matters(layer.in) && !only_dense_reads(layer.spec.name)) {
      source = layer.spec.name + ".pixels";
      node(layer.spec.name + ".transpose", "Transpose", {x}, source, {attribute("perm", {0, 2, 3, 1})});
    }
    node(layer.spec.name, "Flatten", {source}, y, {attribute("axis", std::int64_t{1})});
  }

  /// True if all that is done with a vector is the same whatever its order, up to dense layers.
  bool only_dense_reads(const std::string& name) {
    if (name == net_.output) return false;
    const auto readers = net_.readers(name);
    return std::all_of(readers.begin(), readers.end(), [&](const std::string& reader) {
      const OpKind kind = net_.at(reader).spec.kind;
      return kind == OpKind::dense || (kind == OpKind::relu && only_dense_reads(reader));
    });
  }

  /// The picture whose values a vector holds channel by channel; a scalar's shape for any other vector.
  Shape flattened_picture(const std::string& name) {
    if (name == "input") return {};
    const InferenceLayer& layer = net_.at(name);
    if (layer.spec.kind == OpKind::relu) return flattened_picture(layer.spec.inputs[0]);
    const bool unordered =
        layer.spec.kind == OpKind::flatten && order_matters(layer.in) && only_dense_reads(name);
    return unordered ? layer.in : Shape{};
  }

  const ModelSpec& spec_;
  InferenceNet net_;
  bool normalised_ = false;
  std::vector<ProtoMessage> nodes_, initializers_;
};

ProtoMessage property(const char* key, const std::string& value) {
  ProtoMessage message;
  message.text(1, key);
  message.text(2, value);
  return message;
}

}  // namespace

std::string encode_onnx(const ModelSpec& spec, std::span<const float> weights, const OnnxOptions& options) {
  InferenceNet net = inference_net(spec, weights);
  if (!options.keep_batchnorm) fold_batchnorm(net);
  ProtoMessage opset, model;
  opset.integer(2, kOpset);
  model.integer(1, kIrVersion);
  model.text(2, "quern");
  model.text(3, version());
  model.text(6, fmt::format("{}\n\nInput 'images': float32 [N, {}, {}, {}], pixels scaled to [0, 1] "
                            "(pixel / 255); mean {} and standard deviation {} are applied inside. "
                            "Output 'logits': float32 [N, {}].",
                            spec.description, spec.channels, spec.height, spec.width, spec.mean, spec.stddev,
                            output_classes(spec)));
  model.message(7, OnnxWriter(spec, std::move(net)).graph());
  model.message(8, opset);
  if (!options.class_names.empty())
    model.message(14, property("class_names", nlohmann::json(options.class_names).dump()));
  return model.bytes();
}

}  // namespace quern
