#include <cmath>

#include "graph/shapes.hpp"
#include "quern/error.hpp"
#include "quern/graph.hpp"
#include "quern/philox.hpp"

namespace quern {
namespace {

// Every tensor starts on a 256-byte boundary, so that kernels may load 16 bytes at a time from any of them.
constexpr std::int64_t kAlignment = 64;
// Parameters of a model, far above what a device holds: sums of them and their bytes do not overflow.
constexpr double kMostElements = 0x1p34;

std::int64_t align(std::int64_t elements) {
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

WeightLayout weight_layout(const ModelSpec& spec) {
  WeightLayout layout;
  const auto shapes = infer_shapes(spec);
  const auto add = [&](std::string name, Shape shape, bool trained, bool decay, Initializer initializer) {
    double product = 1;
    for (const std::int64_t extent : shape.extents()) product *= static_cast<double>(extent);
    if (static_cast<double>(layout.total_elements) + product > kMostElements)
      fail_input("model '{}': with {} of {} it has more parameters than this engine takes", spec.name, name,
                 to_string(shape));
    WeightTensor tensor{std::move(name),
                        shape,
                        layout.total_elements,
                        trained,
                        decay,
                        initializer,
                        static_cast<std::uint32_t>(layout.tensors.size())};
    layout.total_elements = align(layout.total_elements + shape.elements());
    layout.tensors.push_back(std::move(tensor));
  };
  const auto ones = Initializer{Initializer::Kind::ones};
  const auto zeros = Initializer{Initializer::Kind::zeros};
  for (const LayerSpec& layer : spec.layers) {
    const Shape& in = shapes.at(layer.inputs[0]);
    if (layer.kind == OpKind::conv2d) {
      // Keras' fans: the window's area times the channels on either side.
      const double area = static_cast<double>(layer.kernel_h) * layer.kernel_w;
      const std::int64_t depth = in[3] / layer.groups;
      const Initializer glorot{Initializer::Kind::glorot_uniform, area * static_cast<double>(depth),
                               area * static_cast<double>(layer.units)};
      add(layer.name + ".weight", {layer.units, layer.kernel_h, layer.kernel_w, depth}, true, true, glorot);
      if (layer.bias) add(layer.name + ".bias", {layer.units}, true, false, zeros);
    } else if (layer.kind == OpKind::dense) {
      const Initializer glorot{Initializer::Kind::glorot_uniform, static_cast<double>(in[1]),
                               static_cast<double>(layer.units)};
      add(layer.name + ".weight", {layer.units, in[1]}, true, true, glorot);
      if (layer.bias) add(layer.name + ".bias", {layer.units}, true, false, zeros);
    } else if (layer.kind == OpKind::batchnorm) {
      add(layer.name + ".gamma", {in[in.rank() - 1]}, true, false, ones);
      add(layer.name + ".beta", {in[in.rank() - 1]}, true, false, zeros);
    }
  }
  layout.trained_elements = layout.total_elements;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.kind != OpKind::batchnorm) continue;
    const Shape& in = shapes.at(layer.inputs[0]);
    add(layer.name + ".running_mean", {in[in.rank() - 1]}, false, false, zeros);
    add(layer.name + ".running_var", {in[in.rank() - 1]}, false, false, ones);
  }
  return layout;
}

const WeightTensor& WeightLayout::find(std::string_view name) const {
  for (const WeightTensor& tensor : tensors)
    if (tensor.name == name) return tensor;
  fail_input("the model has no weight tensor named '{}'", name);
}

void initialize_weights(const WeightLayout& layout, std::uint64_t seed, std::span<float> weights) {
  QUERN_REQUIRE(static_cast<std::int64_t>(weights.size()) == layout.total_elements,
                "{} floats given for a model of {}", weights.size(), layout.total_elements);
  std::fill(weights.begin(), weights.end(), 0.0f);
  for (const WeightTensor& tensor : layout.tensors) {
    const auto values = weights.subspan(static_cast<std::size_t>(tensor.offset),
                                        static_cast<std::size_t>(tensor.shape.elements()));
    const Initializer& initializer = tensor.initializer;
    if (initializer.kind == Initializer::Kind::ones) std::fill(values.begin(), values.end(), 1.0f);
    if (initializer.kind != Initializer::Kind::glorot_uniform) continue;
    const auto limit = static_cast<float>(std::sqrt(6.0 / (initializer.fan_in + initializer.fan_out)));
    for (std::size_t i = 0; i < values.size(); i += 4) {
      const Philox4 block = philox_block(seed, RandomPurpose::init, tensor.stream, 0, i / 4);
      for (std::size_t lane = 0; lane < 4 && i + lane < values.size(); ++lane)
        values[i + lane] =
            (2.0f * uniform_from_u32(philox_lane(block, static_cast<unsigned>(lane))) - 1.0f) * limit;
    }
  }
}

}  // namespace quern
