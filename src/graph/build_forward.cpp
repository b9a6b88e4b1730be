#include <map>

#include "graph/shapes.hpp"
#include "quern/error.hpp"
#include "quern/graph.hpp"

namespace quern {
namespace {

class ForwardBuilder {
 public:
  ForwardBuilder(const ModelSpec& spec, const GraphOptions& options)
      : spec_(spec), options_(options), layout_(weight_layout(spec)) {
    graph_.precision = options.precision;
  }

  Graph build() {
    if (options_.batch < 1) fail_input("batch size {}: must be at least 1", options_.batch);
    add_persistents();
    add_input();
    for (const LayerSpec& layer : spec_.layers) add_layer(layer);
    add_loss();
    return std::move(graph_);
  }

 private:
  ValueId add(std::string name, DType dtype, Shape shape, Storage storage = Storage::transient) {
    return graph_.add_value({std::move(name), {dtype, shape}, storage, kNoValue, 0});
  }
  ValueId add_view(std::string name, ValueId of, Shape shape, std::int64_t element_offset = 0) {
    const Value& owner = graph_.value(of);
    Value view{std::move(name),
               {owner.desc.dtype, shape},
               owner.storage,
               of,
               static_cast<std::size_t>(element_offset) * size_of(owner.desc.dtype)};
    return graph_.add_value(std::move(view));
  }
  Node& add_node(const std::string& layer, OpKey op, Attrs attrs, std::vector<ValueId> inputs,
                 std::vector<ValueId> outputs, Phase phase) {
    graph_.nodes.push_back({fmt::format("{}.{}", layer, to_string(op.direction)), layer, op, std::move(attrs),
                            std::move(inputs), std::move(outputs), phase});
    return graph_.nodes.back();
  }
  DType activation_type() const { return options_.precision == Precision::bf16 ? DType::bf16 : DType::f32; }

  void add_persistents() {
    const ValueId weights = add(names::kWeights, DType::f32, {layout_.total_elements}, Storage::persistent);
    for (const WeightTensor& tensor : layout_.tensors)
      weights_[tensor.name] = add_view(tensor.name, weights, tensor.shape, tensor.offset);
    metrics_ = add(names::kMetrics, DType::f64, {4}, Storage::persistent);
    step_ = add(names::kStep, DType::u8, {sizeof(StepScalars)}, Storage::persistent);
    if (options_.training)
      add(names::kSteps, DType::u8, {options_.steps, sizeof(StepScalars)}, Storage::external);
  }

  void add_input() {
    const std::int64_t images = options_.dataset_images;
    const ValueId pixels = add(names::kImages, DType::u8, {images, spec_.height, spec_.width, spec_.channels},
                               Storage::external);
    const ValueId classes = add(names::kLabels, DType::u8, {images}, Storage::external);
    const ValueId order = add(names::kOrder, DType::u32, {options_.order_length}, Storage::external);
    const ValueId x =
        add("input.out", activation_type(), {options_.batch, spec_.height, spec_.width, spec_.channels});
    labels_ = add("input.labels", DType::i32, {options_.batch});
    InputBatchAttrs attrs{spec_.mean, spec_.stddev, {}};
    if (options_.training) attrs.augment = spec_.recipe.augment;
    add_node("input", {OpKind::input_batch, Direction::forward}, attrs, {pixels, classes, order, step_},
             {x, labels_}, Phase::input);
    outputs_["input"] = x;
  }

  void add_layer(const LayerSpec& layer) {
    const ValueId x = outputs_.at(layer.inputs[0]);
    const Shape in = graph_.value(x).desc.shape;
    const bool last = &layer == &spec_.layers.back();
    // What sums up in fp32 leaves the logits there whatever the precision: the loss is computed from them.
    // Their gradient is an activation like the others.
    const bool sums =
        layer.kind == OpKind::dense || layer.kind == OpKind::conv2d || layer.kind == OpKind::global_avgpool;
    const DType type = last && sums ? DType::f32 : activation_type();
    const std::string out_name = last ? std::string(names::kLogits) : layer.name + ".out";
    const auto output = [&](Shape shape) { return add(out_name, type, shape); };
    const auto finish = [&](ValueId y) { outputs_[layer.name] = y; };
    const auto simple = [&](Direction direction, Attrs attrs, std::vector<ValueId> inputs, Shape shape) {
      const ValueId y = output(shape);
      add_node(layer.name, {layer.kind, direction}, std::move(attrs), std::move(inputs), {y}, Phase::forward);
      finish(y);
    };
    const auto windowed = [&](const Window& window, std::int64_t channels) {
      return Shape{in[0],
                   window_output(in[1], window.r, window.stride_h, layer.dilation_h, window.pad_top,
                                 window.pad_bottom),
                   window_output(in[2], window.s, window.stride_w, layer.dilation_w, window.pad_left,
                                 window.pad_right),
                   channels};
    };
    switch (layer.kind) {
      case OpKind::conv2d: {
        Conv2dAttrs attrs;
        attrs.window = resolve_window(layer, in);
        attrs.dilation_h = layer.dilation_h;
        attrs.dilation_w = layer.dilation_w;
        attrs.groups = layer.groups;
        attrs.bias = layer.bias;
        simple(Direction::forward, attrs, with_bias(layer, x), windowed(attrs.window, layer.units));
        break;
      }
      case OpKind::dense: {
        DenseAttrs attrs;
        attrs.bias = layer.bias;
        simple(Direction::forward, attrs, with_bias(layer, x), {in[0], layer.units});
        break;
      }
      case OpKind::batchnorm:
        add_batchnorm(layer, x, output(in));
        break;
      case OpKind::relu:
        simple(Direction::forward, NoAttrs{}, {x}, in);
        break;
      case OpKind::maxpool2d: {
        Pool2dAttrs attrs;
        attrs.window = resolve_window(layer, in);
        attrs.save_argmax = options_.training;
        const Shape out = windowed(attrs.window, in[3]);
        simple(Direction::forward, attrs, {x}, out);
        if (options_.training)
          graph_.nodes.back().outputs.push_back(add(layer.name + ".argmax", DType::u8, out));
        break;
      }
      case OpKind::avgpool2d: {
        Pool2dAttrs attrs;
        attrs.window = resolve_window(layer, in);
        attrs.count_include_pad = layer.count_include_pad;
        simple(Direction::forward, attrs, {x}, windowed(attrs.window, in[3]));
        break;
      }
      case OpKind::global_avgpool:
        simple(Direction::forward, GlobalPoolAttrs{}, {x}, {in[0], in[3]});
        break;
      case OpKind::dropout:
        if (options_.training) {
          simple(Direction::forward, DropoutAttrs{layer.rate, dropouts_}, {x, step_}, in);
        } else {
          finish(add_view(out_name, x, in));
        }
        ++dropouts_;
        break;
      case OpKind::add:
        simple(Direction::forward, AddAttrs{}, {x, outputs_.at(layer.inputs[1])}, in);
        break;
      case OpKind::flatten:
        finish(add_view(out_name, x, {in[0], in.elements() / in[0]}));
        break;
      default:
        QUERN_REQUIRE(false, "layer '{}' has no forward rule", layer.name);
    }
  }

  std::vector<ValueId> with_bias(const LayerSpec& layer, ValueId x) const {
    std::vector<ValueId> inputs{x, weights_.at(layer.name + ".weight")};
    if (layer.bias) inputs.push_back(weights_.at(layer.name + ".bias"));
    return inputs;
  }

  void add_batchnorm(const LayerSpec& layer, ValueId x, ValueId y) {
    BatchNormAttrs attrs;
    attrs.momentum = layer.momentum;
    attrs.epsilon = layer.epsilon;
    const Shape& in = graph_.value(x).desc.shape;
    const std::int64_t channels = in[in.rank() - 1];
    const ValueId mean = weights_.at(layer.name + ".running_mean");
    const ValueId variance = weights_.at(layer.name + ".running_var");
    std::vector<ValueId> inputs{x, weights_.at(layer.name + ".gamma"), weights_.at(layer.name + ".beta"),
                                mean, variance};
    if (options_.training) {
      const ValueId saved = add(layer.name + ".saved", DType::f32, {2, channels});
      add_node(layer.name, {layer.kind, Direction::forward}, attrs, std::move(inputs),
               {y, saved, mean, variance}, Phase::forward);
    } else {
      add_node(layer.name, {layer.kind, Direction::inference}, attrs, std::move(inputs), {y}, Phase::forward);
    }
    outputs_[layer.name] = y;
  }

  void add_loss() {
    const ValueId logits = outputs_.at(spec_.layers.back().name);
    const ValueId loss = add(names::kLoss, DType::f32, {options_.batch});
    SoftmaxXentAttrs attrs;
    std::vector<ValueId> outputs{loss};
    if (options_.training) {
      // Smoothing shapes the training loss; evaluation reports the plain cross-entropy.
      attrs.label_smoothing = spec_.recipe.label_smoothing;
      attrs.gradient = true;
      attrs.gradient_scale = 1.0f / static_cast<float>(options_.batch);
      outputs.push_back(add("logits.grad", activation_type(), graph_.value(logits).desc.shape));
    }
    add_node("loss", {OpKind::softmax_xent, Direction::forward}, attrs, {logits, labels_}, std::move(outputs),
             Phase::loss);
    add_node("metrics", {OpKind::metrics, Direction::forward}, NoAttrs{}, {loss, logits, labels_, metrics_},
             {metrics_}, Phase::loss);
  }

  const ModelSpec& spec_;
  const GraphOptions& options_;
  WeightLayout layout_;
  Graph graph_;
  std::map<std::string, ValueId> weights_;
  std::map<std::string, ValueId> outputs_;
  ValueId labels_ = kNoValue, metrics_ = kNoValue, step_ = kNoValue;
  std::uint32_t dropouts_ = 0;
};

}  // namespace

Graph build_forward(const ModelSpec& spec, const GraphOptions& options) {
  return ForwardBuilder(spec, options).build();
}

Graph build_graph(const ModelSpec& spec, const GraphOptions& options) {
  Graph graph = build_forward(spec, options);
  if (options.training) {
    add_backward(graph);
    add_update(graph, spec, weight_layout(spec), options.skip_nonfinite);
  }
  if (options.fuse) fuse(graph);
  if (options.fuse && options.few_launches) merge_launches(graph);
  if (options.in_place) mark_in_place(graph);
  graph.validate();
  return graph;
}

}  // namespace quern
