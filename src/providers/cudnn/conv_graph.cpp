#include "providers/cudnn/conv_graph.hpp"

namespace quern::cudnn {

std::vector<Operand> ConvGraph::bound() const {
  if (bias) return {Operand::x, Operand::w, Operand::y, Operand::bias};
  return {Operand::x, Operand::w, Operand::y};
}

ConvGraph conv_graph(const OpDesc& desc, DType filters) {
  const auto& attrs = desc.as<Conv2dAttrs>();
  ConvGraph graph;
  graph.direction = desc.op.direction;
  graph.window = attrs.window;
  graph.dilation_h = attrs.dilation_h;
  graph.dilation_w = attrs.dilation_w;
  switch (desc.op.direction) {
    case Direction::forward:
      graph.x = channels_last(desc.inputs[0]);
      graph.w = channels_last({filters, desc.inputs[1].shape});
      graph.y = channels_last(desc.outputs[0]);
      break;
    case Direction::backward_data:
      graph.y = channels_last(desc.inputs[0]);
      graph.w = channels_last({filters, desc.inputs[1].shape});
      graph.x = channels_last(desc.outputs[0]);
      break;
    default:
      graph.y = channels_last(desc.inputs[0]);
      graph.x = channels_last(desc.inputs[1]);
      graph.w = channels_last({filters, desc.outputs[0].shape});
  }
  return graph;
}

Descriptor& Operations::keep(Descriptor descriptor) {
  kept_.push_back(std::make_unique<Descriptor>(std::move(descriptor)));
  return *kept_.back();
}

Descriptor& Operations::tensor(Operand id, const TensorLayout& layout, bool intermediate) {
  // Buffers are aligned to 256 bytes, and so is every tensor inside the flat weights.
  constexpr std::int64_t kAlignment = 16;
  Descriptor descriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  descriptor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, static_cast<std::int64_t>(id))
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, layout.type)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment)
      .set_all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, layout.extents)
      .set_all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, layout.strides)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, intermediate)
      .finalize();
  return keep(std::move(descriptor));
}

Descriptor& Operations::pointwise(cudnnPointwiseMode_t mode) {
  Descriptor descriptor(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  descriptor.set(CUDNN_ATTR_POINTWISE_MODE, mode)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
      .finalize();
  return keep(std::move(descriptor));
}

Operations::Operations(const ConvGraph& graph) {
  const Window& w = graph.window;
  using Pair = std::array<std::int64_t, 2>;
  Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2})
      .set_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, Pair{w.pad_top, w.pad_left})
      .set_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, Pair{w.pad_bottom, w.pad_right})
      .set_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, Pair{w.stride_h, w.stride_w})
      .set_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS, Pair{graph.dilation_h, graph.dilation_w})
      .finalize();
  const Descriptor& conv = keep(std::move(convolution));

  const bool epilogue = graph.bias || graph.relu;
  const Descriptor& x = tensor(Operand::x, graph.x, false);
  const Descriptor& filter = tensor(Operand::w, graph.w, false);
  const Descriptor& y = tensor(Operand::y, graph.y, false);
  // Between fused operations values stay in fp32.
  TensorLayout between = graph.y;
  between.type = CUDNN_DATA_FLOAT;

  const auto add_node = [&](Descriptor node) { nodes_.push_back(keep(std::move(node.finalize())).get()); };
  if (graph.direction == Direction::backward_data) {
    Descriptor node(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
    node.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, conv)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, y)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, filter)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, x)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1.0f)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, 0.0f);
    add_node(std::move(node));
    return;
  }
  if (graph.direction == Direction::backward_weights) {
    Descriptor node(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
    node.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, conv)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, y)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, x)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, filter)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 1.0f)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, 0.0f);
    add_node(std::move(node));
    return;
  }

  const Descriptor& sum = epilogue ? tensor(Operand::sum, between, true) : y;
  Descriptor node(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  node.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, filter)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, sum)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f);
  add_node(std::move(node));
  const Descriptor* last = &sum;
  if (graph.bias) {
    const Descriptor& bias = tensor(Operand::bias, per_channel(graph.y.extents[1]), false);
    const Descriptor& biased = graph.relu ? tensor(Operand::biased, between, true) : y;
    Descriptor add(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    add.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise(CUDNN_POINTWISE_ADD))
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *last)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, bias)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, biased);
    add_node(std::move(add));
    last = &biased;
  }
  if (graph.relu) {
    Descriptor relu(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    relu.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise(CUDNN_POINTWISE_RELU_FWD))
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *last)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    add_node(std::move(relu));
  }
}

}  // namespace quern::cudnn
