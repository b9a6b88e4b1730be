#include "providers/custom/products.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace quern {

using namespace kernels;

namespace {

constexpr int kMaxGrid = 65535;

/// What the entries of one direction differ in.
enum class Arithmetic : std::uint8_t { bf16, tf32, fp32 };

/// Attributes that convolution and dense layers share.
struct Epilogue {
  bool bias, relu, stats, mask;
};
Epilogue epilogue_of(const OpDesc& desc) {
  const auto of = [](const auto& attrs) { return Epilogue{attrs.bias, attrs.relu, attrs.stats, attrs.mask}; };
  return desc.op.kind == OpKind::dense ? of(desc.as<DenseAttrs>()) : of(desc.as<Conv2dAttrs>());
}

bool is_bf16(const TensorDesc& tensor) {
  return tensor.dtype == DType::bf16;
}

/// Elements of an activation in 16 bytes.
int chunk_of(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::bf16 ? 8 : 4;
}

Refusal refuse_arithmetic(const OpDesc& desc, const DeviceInfo& device, Arithmetic arithmetic) {
  if (device.sm < 80)
    return fmt::format("needs sm_80 for cp.async and mma.sync, the device is sm_{}", device.sm);
  if (arithmetic == Arithmetic::tf32 && desc.precision == Precision::fp32)
    return "rounds its operands to tf32, and the precision asked for is fp32";
  if (arithmetic == Arithmetic::bf16 && desc.precision != Precision::bf16)
    return fmt::format("rounds its operands to bf16, and the precision asked for is {}",
                       to_string(desc.precision));
  const DType type = arithmetic == Arithmetic::bf16 ? DType::bf16 : DType::f32;
  if (common_activation_type(desc) != type) return fmt::format("needs {} activations", to_string(type));
  return {};
}

Refusal refuse_geometry(const Conv2dShape& s) {
  if (s.groups != 1) return fmt::format("needs groups = 1, got {}", s.groups);
  if (s.r * s.s > kMaxTaps) return fmt::format("needs at most {} filter taps, got {}x{}", kMaxTaps, s.r, s.s);
  const auto reach = [](int in, int pad, int dilation, int taps) {
    return std::int64_t{in} + 2 * std::int64_t{pad} + std::int64_t{dilation} * taps;
  };
  if (reach(s.h, s.pad_top, s.dilation_h, s.r) > kMaxExtent ||
      reach(s.w, s.pad_left, s.dilation_w, s.s) > kMaxExtent)
    return fmt::format("needs images of up to {} rows and columns with their padding, got {}x{}", kMaxExtent,
                       s.h, s.w);
  // Tiles of channels or weights are the grid's second extent, phases of the stride times splits its third.
  if (ceil_div(std::max<std::int64_t>({s.k, s.c, s.patch()}), 32) > kMaxGrid)
    return fmt::format("needs at most {} channels, and weights a filter", 32 * std::int64_t{kMaxGrid});
  if (std::int64_t{s.stride_h} * s.stride_w > 512) return "needs strides of at most 512 pixels together";
  return {};
}

GemmRates rates_of(Arithmetic arithmetic) {
  GemmRates rates;
  // mma.sync reaches about 60 % of the datasheet's dense rate on Hopper.
  if (arithmetic == Arithmetic::tf32) rates.multiply_adds = 600;
  if (arithmetic == Arithmetic::bf16) rates.multiply_adds = 1200;
  return rates;
}

Refusal refuse_product(const OpDesc& desc, const DeviceInfo& device, ShapeOf shape_of,
                       Arithmetic arithmetic) {
  if (Refusal refusal = refuse_arithmetic(desc, device, arithmetic)) return refusal;
  if (Refusal refusal = refuse_size(desc)) return refusal;
  return refuse_geometry(shape_of(desc));
}

/// The functions of one direction, by the type of its arguments.
template <class Args>
struct Product {
  Args (*args_of)(const OpDesc&, const Conv2dShape&);
  GemmProblem (*problem_of)(const Conv2dShape&, int chunk);
  std::size_t (*workspace)(const Args&);
  std::size_t (*counters)(const Args&);
  Launchers<Args> bf16, tf32, fp32, general;
};

template <class Args>
void add_direction(Registry& registry, OpKey op, ShapeOf shape_of, const Product<Args>& product) {
  const auto add = [&](const char* name, Arithmetic arithmetic, const Launchers<Args>& launchers) {
    KernelEntry<Args> entry;
    entry.name = name;
    entry.op = op;
    entry.launchers = launchers;
    entry.refusal = [=](const OpDesc& desc, const DeviceInfo& device) {
      return refuse_product(desc, device, shape_of, arithmetic);
    };
    entry.plan = [=](const OpDesc& desc, const DeviceInfo& device) {
      const Conv2dShape shape = shape_of(desc);
      Args args = product.args_of(desc, shape);
      args.plan = plan_gemm(product.problem_of(shape, chunk_of(arithmetic)), device.multiprocessors,
                            rates_of(arithmetic));
      return args;
    };
    entry.bind = [](Args& args, const RunArgs& run) { bind(args, run); };
    entry.workspace = product.workspace;
    entry.counters = product.counters;
    add_kernel(registry, entry);
  };
  add("implicit_gemm_bf16", Arithmetic::bf16, product.bf16);
  add("implicit_gemm_tf32", Arithmetic::tf32, product.tf32);
  add("implicit_gemm_fp32", Arithmetic::fp32, product.fp32);

  KernelEntry<Args> general;
  general.name = "general";
  general.merges = true;
  general.launches = [](const OpDesc& desc) {  // statistics and the bias' gradient have their own
    const bool forward = desc.op.direction == Direction::forward;
    const bool to_weights = desc.op.direction == Direction::backward_weights;
    return (forward && epilogue_of(desc).stats) || (to_weights && epilogue_of(desc).bias) ? 2 : 1;
  };
  general.op = op;
  general.launchers = product.general;
  general.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal(); };
  general.plan = [=](const OpDesc& desc, const DeviceInfo&) { return product.args_of(desc, shape_of(desc)); };
  general.bind = [](Args& args, const RunArgs& run) { bind(args, run); };
  add_kernel(registry, general);
}

/// Both gradients in one launch.
void add_backward(Registry& registry, OpKind kind, ShapeOf shape_of) {
  const auto add = [&](const char* name, Arithmetic arithmetic,
                       const Launchers<Conv2dBackwardArgs>& launchers) {
    KernelEntry<Conv2dBackwardArgs> entry;
    entry.name = name;
    entry.op = {kind, Direction::backward};
    entry.launchers = launchers;
    entry.refusal = [=](const OpDesc& desc, const DeviceInfo& device) {
      return refuse_product(desc, device, shape_of, arithmetic);
    };
    entry.plan = [=](const OpDesc& desc, const DeviceInfo& device) {
      const Conv2dShape shape = shape_of(desc);
      Conv2dBackwardArgs args;
      args.data = backward_data_args(backward_data_half(desc), shape);
      args.weights = backward_weights_args(backward_weights_half(desc), shape);
      args.masked = epilogue_of(desc).mask;
      const int chunk = chunk_of(arithmetic);
      const GemmPairPlan plans = plan_gemm_pair(conv2d_backward_data_problem(shape, chunk),
                                                conv2d_backward_weights_problem(shape, chunk),
                                                device.multiprocessors, rates_of(arithmetic));
      args.data.plan = plans.first;
      args.weights.plan = plans.second;
      return args;
    };
    entry.bind = [](Conv2dBackwardArgs& args, const RunArgs& run) {
      args.data.dy = args.weights.dy = run.in[0];
      args.weights.x = run.in[1];
      args.data.x = args.masked ? run.in[1] : nullptr;
      args.data.w = input<float>(run, 2);
      args.data.dx = run.out[0];
      args.weights.dw = output<float>(run, 1);
      args.weights.dbias = args.weights.with_bias ? output<float>(run, 2) : nullptr;
      args.workspace = static_cast<float*>(run.workspace);
    };
    entry.workspace = conv2d_backward_workspace;
    entry.counters = conv2d_backward_counters;
    add_kernel(registry, entry);
  };
  add("implicit_gemm_bf16", Arithmetic::bf16, QUERN_LAUNCHERS(conv2d_backward_bf16));
  add("implicit_gemm_tf32", Arithmetic::tf32, QUERN_LAUNCHERS(conv2d_backward_tf32));
  add("implicit_gemm_fp32", Arithmetic::fp32, QUERN_LAUNCHERS(conv2d_backward_fp32));
}

}  // namespace

// Activations are all inputs and outputs but the weights (fp32 in any precision), biases and statistics.
std::optional<DType> common_activation_type(const OpDesc& desc) {
  const Direction direction = desc.op.direction;
  // Gathered images are in whatever type the others are.
  if (is_merged(desc)) return direction == Direction::forward ? desc.outputs[0].dtype : desc.inputs[0].dtype;
  const DType type = desc.inputs[0].dtype;
  bool alike = direction == Direction::backward_weights || desc.outputs[0].dtype == type;
  if (direction == Direction::backward_weights || direction == Direction::backward)
    alike = alike && desc.inputs[1].dtype == type;
  if (direction == Direction::backward_data && desc.inputs.size() > 2)
    alike = alike && desc.inputs[2].dtype == type;
  return alike ? std::optional(type) : std::nullopt;
}

Refusal refuse_size(const OpDesc& desc) {
  for (const std::vector<TensorDesc>* list : {&desc.inputs, &desc.outputs})
    for (const TensorDesc& tensor : *list)
      if (tensor.elements() >= kMaxElements)
        return fmt::format("needs tensors of fewer than 2^30 elements, got {}", to_string(tensor));
  return {};
}

namespace {

GatheredImages gathered_images(const OpDesc& desc) {
  GatheredImages images;
  if (desc.op.kind == OpKind::dense) return images;
  const auto& attrs = desc.as<Conv2dAttrs>();
  images.gather = attrs.gather;
  images.mean = attrs.mean;
  images.stddev = attrs.stddev;
  return images;
}

}  // namespace

Conv2dForwardArgs forward_args(const OpDesc& desc, const Conv2dShape& shape) {
  Conv2dForwardArgs args;
  args.shape = shape;
  args.relu = epilogue_of(desc).relu;
  args.with_stats = epilogue_of(desc).stats;
  args.images = gathered_images(desc);
  args.y_bf16 = is_bf16(desc.outputs[0]);
  args.x_bf16 = args.images.gather ? args.y_bf16 : is_bf16(desc.inputs[0]);
  return args;
}

Conv2dBackwardDataArgs backward_data_args(const OpDesc& desc, const Conv2dShape& shape) {
  Conv2dBackwardDataArgs args;
  args.shape = shape;
  args.dy_bf16 = is_bf16(desc.inputs[0]);
  args.dx_bf16 = is_bf16(desc.outputs[0]);
  args.x_bf16 = epilogue_of(desc).mask && is_bf16(desc.inputs[2]);
  return args;
}

Conv2dBackwardWeightsArgs backward_weights_args(const OpDesc& desc, const Conv2dShape& shape) {
  Conv2dBackwardWeightsArgs args;
  args.shape = shape;
  args.with_bias = epilogue_of(desc).bias;
  args.images = gathered_images(desc);
  args.dy_bf16 = is_bf16(desc.inputs[0]);
  args.x_bf16 = args.images.gather ? args.dy_bf16 : is_bf16(desc.inputs[1]);
  return args;
}

// Slots that the attributes leave out are not in the lists; those named here come last in theirs.

void bind(Conv2dForwardArgs& args, const RunArgs& run) {
  const bool gather = args.images.gather;
  const std::size_t w = gather ? 3 : 1;
  args.x = gather ? nullptr : run.in[0];
  if (gather) args.images.dataset = dataset(run, 0);
  args.w = input<float>(run, w);
  args.bias = run.in.size() > w + 1 ? input<float>(run, w + 1) : nullptr;
  args.y = run.out[0];
  args.stats = args.with_stats ? output<float>(run, 1) : nullptr;
  args.workspace = static_cast<float*>(run.workspace);
}

void bind(Conv2dBackwardDataArgs& args, const RunArgs& run) {
  args.dy = run.in[0];
  args.w = input<float>(run, 1);
  args.x = run.in.size() > 2 ? run.in[2] : nullptr;
  args.dx = run.out[0];
  args.workspace = static_cast<float*>(run.workspace);
}

void bind(Conv2dBackwardWeightsArgs& args, const RunArgs& run) {
  args.dy = run.in[0];
  args.x = args.images.gather ? nullptr : run.in[1];
  if (args.images.gather) args.images.dataset = dataset(run, 1);
  args.dw = output<float>(run, 0);
  args.dbias = args.with_bias ? output<float>(run, 1) : nullptr;
  args.workspace = static_cast<float*>(run.workspace);
}

void add_products(Registry& registry, OpKind kind, ShapeOf shape_of) {
  add_direction<Conv2dForwardArgs>(
      registry, {kind, Direction::forward}, shape_of,
      {forward_args, conv2d_forward_problem, conv2d_forward_workspace, conv2d_forward_counters,
       QUERN_LAUNCHERS(conv2d_forward_bf16), QUERN_LAUNCHERS(conv2d_forward_tf32),
       QUERN_LAUNCHERS(conv2d_forward_fp32), QUERN_LAUNCHERS(conv2d_forward_general)});
  add_direction<Conv2dBackwardDataArgs>(
      registry, {kind, Direction::backward_data}, shape_of,
      {backward_data_args, conv2d_backward_data_problem, conv2d_backward_data_workspace,
       conv2d_backward_data_counters, QUERN_LAUNCHERS(conv2d_backward_data_bf16),
       QUERN_LAUNCHERS(conv2d_backward_data_tf32), QUERN_LAUNCHERS(conv2d_backward_data_fp32),
       QUERN_LAUNCHERS(conv2d_backward_data_general)});
  add_direction<Conv2dBackwardWeightsArgs>(
      registry, {kind, Direction::backward_weights}, shape_of,
      {backward_weights_args, conv2d_backward_weights_problem, conv2d_backward_weights_workspace,
       conv2d_backward_weights_counters, QUERN_LAUNCHERS(conv2d_backward_weights_bf16),
       QUERN_LAUNCHERS(conv2d_backward_weights_tf32), QUERN_LAUNCHERS(conv2d_backward_weights_fp32),
       QUERN_LAUNCHERS(conv2d_backward_weights_general)});
  add_backward(registry, kind, shape_of);
}

}  // namespace quern
