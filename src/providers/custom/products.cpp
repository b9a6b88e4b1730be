#include "providers/custom/products.hpp"

#include <fmt/format.h>

namespace quern {

namespace {

constexpr std::int64_t kMaxElements = std::int64_t{1} << 30;
constexpr int kMaxExtent = 1 << 14;
constexpr int kMaxTaps = 128;
constexpr int kMaxGrid = 65535;

/// Activations are all inputs and outputs but the weights (fp32 in any precision), biases and statistics.
bool activations_are(const OpDesc& desc, DType type) {
  const bool to_weights = desc.op.direction == Direction::backward_weights;
  for (std::size_t i = 0; i < desc.inputs.size(); ++i) {
    const bool is_activation =
        to_weights || i == 0 || (desc.op.direction == Direction::backward_data && i == 2);
    if (is_activation && desc.inputs[i].dtype != type) return false;
  }
  return to_weights || desc.outputs[0].dtype == type;
}

}  // namespace

Refusal refuse_product(const OpDesc& desc, const DeviceInfo& device, Arithmetic arithmetic) {
  if (device.sm < 80)
    return fmt::format("needs sm_80 for cp.async and mma.sync, the device is sm_{}", device.sm);
  switch (arithmetic) {
    case Arithmetic::fp32:
      if (!activations_are(desc, DType::f32)) return "needs f32 activations";
      break;
    case Arithmetic::tf32:
      if (desc.precision == Precision::fp32)
        return "rounds its operands to tf32, and the precision asked for is fp32";
      if (!activations_are(desc, DType::f32)) return "needs f32 activations";
      break;
    case Arithmetic::bf16:
      if (desc.precision != Precision::bf16)
        return fmt::format("rounds its operands to bf16, and the precision asked for is {}",
                           to_string(desc.precision));
      if (!activations_are(desc, DType::bf16)) return "needs bf16 activations";
      break;
  }
  for (const std::vector<TensorDesc>* list : {&desc.inputs, &desc.outputs})
    for (const TensorDesc& tensor : *list)
      if (tensor.elements() >= kMaxElements)
        return fmt::format("needs tensors of fewer than 2^30 elements, got {}", to_string(tensor));
  return {};
}

Refusal refuse_geometry(const kernels::Conv2dShape& s) {
  if (s.groups != 1) return fmt::format("needs groups = 1, got {}", s.groups);
  if (s.r * s.s > kMaxTaps) return fmt::format("needs at most {} filter taps, got {}x{}", kMaxTaps, s.r, s.s);
  const auto reach = [](int in, int pad, int dilation, int taps) { return in + 2 * pad + dilation * taps; };
  if (reach(s.h, s.pad_top, s.dilation_h, s.r) > kMaxExtent ||
      reach(s.w, s.pad_left, s.dilation_w, s.s) > kMaxExtent)
    return fmt::format("needs images of up to {} rows and columns with their padding, got {}x{}", kMaxExtent,
                       s.h, s.w);
  // Tiles of channels are the grid's second extent, phases times splits its third.
  if (kernels::ceil_div(std::max<std::int64_t>(s.k, std::max<std::int64_t>(s.c, s.patch())), 32) > kMaxGrid)
    return fmt::format("needs fewer than {} channels and weights a filter", 32 * std::int64_t{kMaxGrid});
  if (std::int64_t{s.stride_h} * s.stride_w > 512) return "needs strides of at most 512 pixels together";
  return {};
}

kernels::GemmPlan plan_product(const kernels::GemmProblem& problem, const DeviceInfo& device,
                               Arithmetic arithmetic) {
  kernels::GemmRates rates;
  // Of the datasheet's dense rate, mma.sync reaches about 60 % on Hopper.
  if (arithmetic == Arithmetic::tf32) rates.multiply_adds = 600;
  if (arithmetic == Arithmetic::bf16) rates.multiply_adds = 1200;
  return kernels::plan_gemm(problem, device.multiprocessors, rates);
}

}  // namespace quern
