#include "graph/shapes.hpp"

#include <algorithm>

#include "quern/error.hpp"

namespace quern {
namespace {

/// Padding before and after one axis so that the output has ceil(in / stride) elements; an odd one goes
/// after.
std::pair<int, int> same_padding(std::int64_t in, int kernel, int stride, int dilation) {
  const std::int64_t out = (in + stride - 1) / stride;
  const std::int64_t total = std::max<std::int64_t>(
      0, (out - 1) * stride + static_cast<std::int64_t>(kernel - 1) * dilation + 1 - in);
  return {static_cast<int>(total / 2), static_cast<int>(total - total / 2)};
}

Shape layer_output(const LayerSpec& layer, const std::map<std::string, Shape>& shapes) {
  const Shape& in = shapes.at(layer.inputs[0]);
  const auto fail = [&](const std::string& message) {
    fail_input("layer '{}' ({}): {}", layer.name, to_string(layer.kind), message);
  };
  const auto need_image = [&] {
    if (in.rank() != 4)
      fail(fmt::format("needs an image, but '{}' gives {}; it must come before 'flatten'", layer.inputs[0],
                       to_string(in)));
  };
  const auto windowed = [&](std::int64_t channels) {
    need_image();
    const Window window = resolve_window(layer, in);
    try {
      return Shape{in[0],
                   window_output(in[1], window.r, window.stride_h, layer.dilation_h, window.pad_top,
                                 window.pad_bottom),
                   window_output(in[2], window.s, window.stride_w, layer.dilation_w, window.pad_left,
                                 window.pad_right),
                   channels};
    } catch (const Error& error) {
      fail(fmt::format("input {}: {}", to_string(in), error.what()));
      throw;
    }
  };
  switch (layer.kind) {
    case OpKind::conv2d:
      need_image();
      if (in[3] % layer.groups != 0 || layer.units % layer.groups != 0)
        fail(fmt::format("groups = {} must divide the {} input channels and the {} filters", layer.groups,
                         in[3], layer.units));
      return windowed(layer.units);
    case OpKind::maxpool2d:
      need_image();
      if (std::int64_t{layer.kernel_h} * layer.kernel_w > 256) fail("windows have at most 256 elements");
      [[fallthrough]];
    case OpKind::avgpool2d: {
      need_image();
      const Window window = resolve_window(layer, in);
      if (window.pad_top >= window.r || window.pad_left >= window.s || window.pad_bottom >= window.r ||
          window.pad_right >= window.s)
        fail("padding must be smaller than the window, or a window would lie outside the image");
      return windowed(in[3]);
    }
    case OpKind::global_avgpool:
      need_image();
      return Shape{in[0], in[3]};
    case OpKind::flatten:
      return Shape{in[0], in.elements() / in[0]};
    case OpKind::dense:
      if (in.rank() != 2)
        fail(fmt::format("needs a vector, but '{}' gives {}; put 'flatten' or 'global_avgpool' before it",
                         layer.inputs[0], to_string(in)));
      return Shape{in[0], layer.units};
    case OpKind::add: {
      const Shape& other = shapes.at(layer.inputs[1]);
      if (!(in == other))
        fail(fmt::format("its inputs differ: '{}' gives {}, '{}' gives {}", layer.inputs[0], to_string(in),
                         layer.inputs[1], to_string(other)));
      return in;
    }
    default:
      return in;
  }
}

}  // namespace

Window resolve_window(const LayerSpec& layer, const Shape& input) {
  Window window{layer.kernel_h, layer.kernel_w, layer.stride_h, layer.stride_w};
  switch (layer.padding.kind) {
    case Padding::Kind::valid:
      break;
    case Padding::Kind::fixed:
      window.pad_top = layer.padding.top;
      window.pad_left = layer.padding.left;
      window.pad_bottom = layer.padding.bottom;
      window.pad_right = layer.padding.right;
      break;
    case Padding::Kind::same:
      std::tie(window.pad_top, window.pad_bottom) =
          same_padding(input[1], layer.kernel_h, layer.stride_h, layer.dilation_h);
      std::tie(window.pad_left, window.pad_right) =
          same_padding(input[2], layer.kernel_w, layer.stride_w, layer.dilation_w);
      break;
  }
  return window;
}

std::map<std::string, Shape> infer_shapes(const ModelSpec& spec) {
  std::map<std::string, Shape> shapes{{"input", Shape{1, spec.height, spec.width, spec.channels}}};
  // One image's activation must stay addressable with room for a batch; this is far above any real model.
  constexpr std::int64_t kMost = std::int64_t{1} << 28;
  if (shapes.at("input").elements() > kMost)
    fail_input("an input of {} is larger than this engine takes", to_string(shapes.at("input")));
  for (const LayerSpec& layer : spec.layers) {
    const Shape shape = layer_output(layer, shapes);
    if (shape.elements() > kMost)
      fail_input("layer '{}': an output of {} is larger than this engine takes", layer.name,
                 to_string(shape));
    shapes.emplace(layer.name, shape);
  }
  const LayerSpec& last = spec.layers.back();
  if (shapes.at(last.name).rank() != 2)
    fail_input("the last layer '{}' gives {}: the output must be a vector of logits; end with 'dense'",
               last.name, to_string(shapes.at(last.name)));
  return shapes;
}

}  // namespace quern
