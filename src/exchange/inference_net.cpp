#include "exchange/inference_net.hpp"

#include <algorithm>
#include <cmath>

#include "graph/shapes.hpp"
#include "quern/error.hpp"

namespace quern {

InferenceLayer& InferenceNet::at(std::string_view name) {
  const auto found =
      std::find_if(layers.begin(), layers.end(), [&](const auto& layer) { return layer.spec.name == name; });
  QUERN_REQUIRE(found != layers.end(), "no layer '{}'", name);
  return *found;
}

std::vector<std::string> InferenceNet::readers(std::string_view name) const {
  std::vector<std::string> names;
  for (const InferenceLayer& layer : layers)
    if (std::find(layer.spec.inputs.begin(), layer.spec.inputs.end(), name) != layer.spec.inputs.end())
      names.push_back(layer.spec.name);
  return names;
}

namespace {

/// Takes a layer out; whoever read it reads its first input.
void bypass(InferenceNet& net, const std::string& name) {
  const std::string source = net.at(name).spec.inputs[0];
  for (InferenceLayer& layer : net.layers)
    std::replace(layer.spec.inputs.begin(), layer.spec.inputs.end(), name, source);
  if (net.output == name) net.output = source;
  std::erase_if(net.layers, [&](const auto& layer) { return layer.spec.name == name; });
}

/// y = scale * x + shift, a channel each.
struct Affine {
  std::vector<double> scale, shift;
};

Affine affine(const InferenceLayer& layer) {
  Affine result;
  for (std::size_t c = 0; c < layer.gamma.size(); ++c) {
    const double scale =
        static_cast<double>(layer.gamma[c]) /
        std::sqrt(static_cast<double>(layer.variance[c]) + static_cast<double>(layer.spec.epsilon));
    result.scale.push_back(scale);
    result.shift.push_back(static_cast<double>(layer.beta[c]) - scale * static_cast<double>(layer.mean[c]));
  }
  return result;
}

bool finite(const Affine& affine) {
  const auto good = [](double value) { return std::isfinite(value); };
  return std::all_of(affine.scale.begin(), affine.scale.end(), good) &&
         std::all_of(affine.shift.begin(), affine.shift.end(), good);
}

/// scale * (W x + b) + shift
void fold_into_producer(InferenceLayer& product, const Affine& after) {
  const std::size_t outputs = after.scale.size(), row = product.weight.size() / outputs;
  product.bias.resize(outputs, 0.0f);
  product.spec.bias = true;
  for (std::size_t k = 0; k < outputs; ++k) {
    for (std::size_t i = 0; i < row; ++i) {
      float& weight = product.weight[k * row + i];
      weight = static_cast<float>(static_cast<double>(weight) * after.scale[k]);
    }
    product.bias[k] =
        static_cast<float>(static_cast<double>(product.bias[k]) * after.scale[k] + after.shift[k]);
  }
}

/// W (scale * x + shift) + b. A column of a dense layer behind `flatten` belongs to channel (column mod C).
void fold_into_reader(InferenceLayer& product, const Affine& before) {
  const auto outputs = static_cast<std::size_t>(product.spec.units);
  const std::size_t row = product.weight.size() / outputs, channels = before.scale.size();
  const auto groups = static_cast<std::size_t>(product.spec.groups);
  const std::size_t depth = channels / groups;  // of a conv filter; a dense layer has one group
  product.bias.resize(outputs, 0.0f);
  product.spec.bias = true;
  for (std::size_t k = 0; k < outputs; ++k) {
    const std::size_t first = k / (outputs / groups) * depth;
    double bias = static_cast<double>(product.bias[k]);
    for (std::size_t i = 0; i < row; ++i) {
      const std::size_t c = first + i % depth;
      float& weight = product.weight[k * row + i];
      bias += static_cast<double>(weight) * before.shift[c];
      weight = static_cast<float>(static_cast<double>(weight) * before.scale[c]);
    }
    product.bias[k] = static_cast<float>(bias);
  }
}

bool has_padding(const InferenceLayer& layer) {
  const Window window = resolve_window(layer.spec, layer.in);
  return window.pad_top != 0 || window.pad_left != 0 || window.pad_bottom != 0 || window.pad_right != 0;
}

/// Whether a per-channel affine map may be applied after the layer instead of before it.
bool commutes(const InferenceLayer& layer, const Affine& affine) {
  switch (layer.spec.kind) {
    case OpKind::flatten:
    case OpKind::global_avgpool:
      return true;
    case OpKind::avgpool2d:
      return !layer.spec.count_include_pad || !has_padding(layer);
    case OpKind::maxpool2d:  // only a rising map leaves the maximum where it was
      return std::all_of(affine.scale.begin(), affine.scale.end(), [](double scale) { return scale > 0; });
    default:
      return false;
  }
}

/// The product that may take the map in, behind layers that let it through; null if there is none.
InferenceLayer* find_reader(InferenceNet& net, const std::string& name, const Affine& affine) {
  std::string at = name;
  while (at != net.output) {
    const std::vector<std::string> readers = net.readers(at);
    if (readers.size() != 1) return nullptr;
    InferenceLayer& reader = net.at(readers[0]);
    // A padded convolution sees zeros at its border, which the map would have to leave alone.
    if (reader.has_product())
      return reader.spec.kind == OpKind::conv2d && has_padding(reader) ? nullptr : &reader;
    if (!commutes(reader, affine)) return nullptr;
    at = reader.spec.name;
  }
  return nullptr;
}

bool fold(InferenceNet& net, const std::string& name) {
  const InferenceLayer& norm = net.at(name);
  const std::string source = norm.spec.inputs[0];
  const Affine map = affine(norm);
  if (!finite(map)) return false;
  if (source != "input" && net.at(source).has_product() && net.readers(source).size() == 1) {
    fold_into_producer(net.at(source), map);
  } else if (InferenceLayer* reader = find_reader(net, name, map)) {
    fold_into_reader(*reader, map);
  } else {
    return false;
  }
  bypass(net, name);
  return true;
}

}  // namespace

InferenceNet inference_net(const ModelSpec& spec, std::span<const float> weights) {
  const WeightLayout layout = weight_layout(spec);
  QUERN_REQUIRE(static_cast<std::int64_t>(weights.size()) == layout.total_elements,
                "{} weights for a model of {}", weights.size(), layout.total_elements);
  const auto shapes = infer_shapes(spec);
  InferenceNet net;
  net.output = spec.layers.back().name;
  for (const LayerSpec& layer : spec.layers) {
    const auto values = [&](const char* tensor) {
      const WeightTensor& found = layout.find(layer.name + tensor);
      const auto part = weights.subspan(static_cast<std::size_t>(found.offset),
                                        static_cast<std::size_t>(found.shape.elements()));
      return std::vector<float>(part.begin(), part.end());
    };
    InferenceLayer& added = net.layers.emplace_back();
    added.spec = layer;
    added.in = shapes.at(layer.inputs[0]);
    added.out = shapes.at(layer.name);
    if (added.has_product()) {
      added.weight = values(".weight");
      if (layer.bias) added.bias = values(".bias");
    } else if (layer.kind == OpKind::batchnorm) {
      added.gamma = values(".gamma");
      added.beta = values(".beta");
      added.mean = values(".running_mean");
      added.variance = values(".running_var");
    }
  }
  for (const LayerSpec& layer : spec.layers)
    if (layer.kind == OpKind::dropout) bypass(net, layer.name);
  return net;
}

int fold_batchnorm(InferenceNet& net) {
  std::vector<std::string> names;
  for (const InferenceLayer& layer : net.layers)
    if (layer.spec.kind == OpKind::batchnorm) names.push_back(layer.spec.name);
  return static_cast<int>(
      std::count_if(names.begin(), names.end(), [&](const std::string& name) { return fold(net, name); }));
}

}  // namespace quern
