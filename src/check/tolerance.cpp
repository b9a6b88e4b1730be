#include "check/tolerance.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "quern/error.hpp"
#include "quern/implementation.hpp"

namespace quern::check {
namespace {

// The table of tolerances, for fp32 arithmetic with fp32 accumulators. u = 2^-24 = 6e-8 is fp32's unit
// roundoff.
//
//   growth  the error of a sum of K products grows with sqrt(K) for products of random sign: each of the K
//   partial
//           sums is rounded by u times its size, which is itself about sqrt(K). Added one after the other
//           that is at most 0.35 u K in the extreme of 10^5 elements, in blocks, trees or vectors far less;
//           2e-6 * sqrt(K) covers both up to K = 10^4 and is 1/40 of what tf32 operands would cause, which
//           must not pass for fp32. Longer sums of fp32 products may take the sequential sum's 2e-8 * K,
//           which meets the other at 10^4 and at 10^5 is still 1/12 of what tf32 would cause.
//   scale   atol is multiplied by the magnitude of what is added up:
//           product    max|a| * max|b| of the operands (1 in the random tier)
//           statistic  max(1, max|y|^2): the variance of values of this size
//           channel    batch norm divides by the deviation: max over channels of |gamma| / sqrt(var + eps),
//           times
//                      max(1, max|x|) in forward (x - mean loses its leading digits) and max|dy| in backward
//           deviation  the same without gamma, for sums of dy * xhat
//           logit      max(1, max|logit|)
//           output     max|expected|: optimizer state may be of any size
//           pixel      (extent of the image in augmented batches, else 1) / stddev: an error of a coordinate
//           moves a
//                      sample by that much between neighbours that differ by up to 1
enum class Growth { none, sqrt_k };
enum class Scale { unit, product, statistic, channel, deviation, logit, output, pixel };

struct Row {
  OpKind kind;
  Direction direction;
  std::string_view output;
  double atol, rtol;
  Growth growth;
  Scale scale;
};

constexpr auto kF = Direction::forward;
constexpr auto kI = Direction::inference;
constexpr auto kB = Direction::backward;
constexpr auto kD = Direction::backward_data;
constexpr auto kW = Direction::backward_weights;

// What is not listed must be equal: integers, maxima, argmaxima, dropped zeros.
constexpr Row kTable[] = {
    {OpKind::input_batch, kF, "x", 2e-6, 2e-6, Growth::none, Scale::pixel},
    {OpKind::conv2d, kF, "y", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::conv2d, kF, "stats", 2e-6, 1e-4, Growth::none, Scale::statistic},
    {OpKind::conv2d, kD, "dx", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::conv2d, kW, "dw", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::conv2d, kW, "dbias", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::conv2d, kB, "dx", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::conv2d, kB, "dw", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::conv2d, kB, "dbias", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::dense, kF, "y", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::dense, kF, "stats", 2e-6, 1e-4, Growth::none, Scale::statistic},
    {OpKind::dense, kD, "dx", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::dense, kW, "dw", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::dense, kW, "dbias", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::dense, kB, "dx", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::dense, kB, "dw", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::dense, kB, "dbias", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    // Statistics are exact to 1e-5 (a one-pass E[x^2] - E[x]^2 is not, see Flavor::offset).
    {OpKind::batchnorm, kF, "y", 2e-6, 2e-5, Growth::none, Scale::channel},
    {OpKind::batchnorm, kF, "saved", 1e-6, 2e-5, Growth::none, Scale::unit},
    {OpKind::batchnorm, kF, "running_mean", 1e-6, 1e-5, Growth::none, Scale::unit},
    {OpKind::batchnorm, kF, "running_var", 1e-6, 1e-5, Growth::none, Scale::unit},
    {OpKind::batchnorm, kI, "y", 1e-6, 1e-5, Growth::none, Scale::channel},
    {OpKind::batchnorm, kB, "dx", 4e-6, 2e-5, Growth::none, Scale::channel},
    {OpKind::batchnorm, kB, "dgamma", 2e-6, 2e-5, Growth::sqrt_k, Scale::deviation},
    {OpKind::batchnorm, kB, "dbeta", 2e-6, 1e-5, Growth::sqrt_k, Scale::product},
    {OpKind::maxpool2d, kB, "dx", 2e-6, 2e-6, Growth::none, Scale::product},  // overlapping windows add up
    {OpKind::avgpool2d, kF, "y", 5e-7, 1e-6, Growth::none, Scale::product},
    {OpKind::avgpool2d, kB, "dx", 5e-7, 1e-6, Growth::none, Scale::product},
    {OpKind::global_avgpool, kF, "y", 5e-7, 1e-6, Growth::none, Scale::product},
    {OpKind::global_avgpool, kB, "dx", 5e-7, 1e-6, Growth::none, Scale::product},
    {OpKind::dropout, kF, "y", 0, 1e-6, Growth::none, Scale::unit},  // a zero must be a zero
    {OpKind::dropout, kB, "dx", 0, 1e-6, Growth::none, Scale::unit},
    {OpKind::add, kF, "y", 1e-7, 1e-6, Growth::none, Scale::unit},
    {OpKind::softmax_xent, kF, "loss", 2e-6, 1e-5, Growth::none, Scale::logit},
    {OpKind::softmax_xent, kF, "dlogits", 2e-6, 2e-5, Growth::none, Scale::unit},
    {OpKind::softmax_xent, kF, "metrics", 2e-6, 1e-5, Growth::none, Scale::logit},  // sums of such losses
    {OpKind::metrics, kF, "metrics", 1e-9, 1e-6, Growth::none, Scale::unit},  // fp32 partial sums are allowed
    {OpKind::optimizer, kF, "params", 1e-6, 1e-6, Growth::none, Scale::output},
    {OpKind::optimizer, kF, "slot1", 1e-6, 1e-5, Growth::none, Scale::output},
    {OpKind::optimizer, kF, "slot2", 1e-6, 1e-5, Growth::none, Scale::output},
    {OpKind::ema, kF, "average", 2e-7, 1e-6, Growth::none, Scale::unit},
};

/// The squared norm of the error against that of the result.
constexpr double kNmse = 1e-10;

// What other precisions add, to operations that multiply matrices (conv2d, dense) and to stored results.
//   tf32  keeps 10 bits of each operand; hardware cuts the rest off, which shrinks every product by up to
//   2^-10 and
//         scatters it by 2^-11 or so: rtol for the shrinking, atol * sqrt(K) for the scatter.
//   bf16  keeps 7 bits, rounded to nearest: weights are rounded to 2^-9, and a result stored in bf16 once
//   more.
struct Operand {
  double atol, rtol, nmse;
};
constexpr Operand kTf32{1.2e-3, 2e-3, 4e-6};
constexpr Operand kBf16{4e-3, 4e-3, 1e-4};
constexpr double kBf16Storage = 0x1.8p-8;

/// Winograd's transforms cost about three bits at 3x3 tiles.
constexpr double kInexactAlgorithm = 16;

double largest(const HostTensor& tensor) {
  double result = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.elements()); ++i) {
    const double magnitude = std::abs(tensor.value(i));
    if (std::isfinite(magnitude)) result = std::max(result, magnitude);
  }
  return result;
}

/// Of the operand of this name; 0 where there is none. A gathered x is as large as a pixel can make it.
double largest_of(const Solved& s, std::string_view name) {
  const SlotNames names = slot_names(s.desc);
  if (name == "x" && names.input("images") >= 0) {
    const auto& attrs = s.desc.as<Conv2dAttrs>();
    return std::max(std::abs(static_cast<double>(attrs.mean)),
                    std::abs(1 - static_cast<double>(attrs.mean))) /
           static_cast<double>(attrs.stddev);
  }
  const int slot = names.input(name);
  return slot < 0 ? 0.0 : largest(s.inputs[static_cast<std::size_t>(slot)]);
}

/// max over channels of |gamma| * 1/sqrt(var + eps).
double channel_scale(const Solved& s, bool with_gamma) {
  const SlotNames names = slot_names(s.desc);
  const auto& attrs = s.desc.as<BatchNormAttrs>();
  const HostTensor& gamma = s.inputs[static_cast<std::size_t>(names.input("gamma"))];
  const auto channels = static_cast<std::size_t>(gamma.elements());
  double result = 0;
  for (std::size_t c = 0; c < channels; ++c) {
    double inverse = 0;
    if (const int saved = names.input("saved"); saved >= 0)
      inverse = s.inputs[static_cast<std::size_t>(saved)].value(channels + c);
    else if (s.desc.op.direction == kI)
      inverse = 1 / std::sqrt(s.inputs[static_cast<std::size_t>(names.input("running_var"))].value(c) +
                              static_cast<double>(attrs.epsilon));
    else
      inverse = s.expected[static_cast<std::size_t>(names.output("saved"))].value(channels + c);
    result = std::max(result, inverse * (with_gamma ? std::abs(gamma.value(c)) : 1.0));
  }
  return std::max(result, s.floor);
}

double scale_of(const Solved& s, Scale scale, std::size_t slot) {
  switch (scale) {
    case Scale::unit:
      return 1;
    case Scale::product: {
      const bool matrices = s.desc.op.kind == OpKind::conv2d || s.desc.op.kind == OpKind::dense;
      if (!matrices) return std::max(s.floor, largest(s.inputs[0]));
      // y = x * w, dx = dy * w, dw = dy * x.
      const std::string_view output = slot_names(s.desc).outputs[slot].name;
      const double first = largest_of(s, output == "y" ? "x" : "dy");
      const double second = output == "dbias" ? 1 : largest_of(s, output == "dw" ? "x" : "w");
      return std::max({s.floor, largest_of(s, "bias"), first * second});
    }
    case Scale::statistic:
      return std::max(s.floor, std::pow(largest(s.expected[0]), 2));
    case Scale::channel: {
      const int x = s.desc.op.direction == kB ? 0 : slot_names(s.desc).input("x");
      return channel_scale(s, true) * std::max(s.floor, largest(s.inputs[static_cast<std::size_t>(x)]));
    }
    case Scale::deviation: {
      const int x = slot_names(s.desc).input("x");
      return channel_scale(s, false) * std::max(s.floor, largest(s.inputs[static_cast<std::size_t>(x)]));
    }
    case Scale::logit:
      return std::max(1.0, largest(s.inputs[0]));
    case Scale::output:
      return largest(s.expected[slot]);
    case Scale::pixel: {
      const auto& attrs = s.desc.as<InputBatchAttrs>();
      const Shape& images = s.desc.inputs[0].shape;
      const double extent = attrs.augment.enabled() ? static_cast<double>(images[1] + images[2]) : 1.0;
      return extent / static_cast<double>(attrs.stddev);
    }
  }
  return 1;
}

}  // namespace

const char* to_string(Tier tier) noexcept {
  return tier == Tier::exact ? "exact" : "random";
}

double reduction_length(const OpDesc& desc, std::string_view output) {
  const auto elements = [](const TensorDesc& d) { return static_cast<double>(d.elements()); };
  const auto rows = [](const TensorDesc& d) {
    return static_cast<double>(d.elements() / d.shape[d.shape.rank() - 1]);
  };
  switch (desc.op.kind) {
    case OpKind::conv2d:
    case OpKind::dense: {
      if (desc.op.direction == kB)
        return reduction_length(output == "dx" ? backward_data_half(desc) : backward_weights_half(desc),
                                output);
      if (desc.op.direction == kW) return rows(desc.inputs[0]);
      const TensorDesc& w = desc.inputs[static_cast<std::size_t>(slot_names(desc).input("w"))];
      const double filters = static_cast<double>(w.shape[0]);
      const double per_filter = elements(w) / filters;
      if (desc.op.direction == kF) return per_filter;
      if (desc.op.kind == OpKind::dense) return filters;
      const auto& attrs = desc.as<Conv2dAttrs>();
      return filters / attrs.groups * attrs.window.r * attrs.window.s;
    }
    case OpKind::batchnorm:
      return output == "y" ? 1 : rows(desc.inputs[desc.op.direction == kB ? 1 : 0]);
    case OpKind::avgpool2d: {
      const Window& w = desc.as<Pool2dAttrs>().window;
      return static_cast<double>(w.r) * w.s;
    }
    case OpKind::global_avgpool:
      return elements(desc.inputs[0]) / elements(desc.outputs[0]);
    default:
      return 1;
  }
}

Limits limits_for(const Solved& s, std::size_t slot, bool exact_algorithm) {
  const OpDesc& desc = s.desc;
  const std::string_view output = slot_names(desc).outputs[slot].name;
  const bool matrices = desc.op.kind == OpKind::conv2d || desc.op.kind == OpKind::dense;
  // Statistics of integers are no integers.
  if (s.tier == Tier::exact && output != "stats") return {};
  const auto row = std::find_if(std::begin(kTable), std::end(kTable), [&](const Row& r) {
    return r.kind == desc.op.kind && r.direction == desc.op.direction && r.output == output;
  });
  const Precision precision = desc.precision;
  if (row == std::end(kTable) && precision != Precision::bf16) return {};
  Limits limits;
  if (row != std::end(kTable)) {
    const double length = row->growth == Growth::sqrt_k ? std::max(1.0, reduction_length(desc, output)) : 1.0;
    double growth = std::sqrt(length);
    if (exact_algorithm && precision == Precision::fp32) growth = std::max(growth, length / 100);
    const double factor = growth * scale_of(s, row->scale, slot);
    limits = {row->atol * factor, row->rtol, kNmse};
    if (matrices && precision != Precision::fp32) {
      const Operand& operand = precision == Precision::tf32 ? kTf32 : kBf16;
      limits.atol = operand.atol * factor;
      limits.rtol += operand.rtol;
      limits.nmse = operand.nmse;
    }
    if (output == "dlogits")
      limits.atol *= std::abs(static_cast<double>(desc.as<SoftmaxXentAttrs>().gradient_scale));
  }
  if (!exact_algorithm) {
    limits.atol *= kInexactAlgorithm;
    limits.rtol *= kInexactAlgorithm;
    limits.nmse *= kInexactAlgorithm * kInexactAlgorithm;
  }
  if (desc.outputs[slot].dtype == DType::bf16) {
    limits.rtol += kBf16Storage;
    limits.nmse = std::max(limits.nmse, kBf16Storage * kBf16Storage);
  }
  return limits;
}

}  // namespace quern::check
