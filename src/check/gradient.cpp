// Mode grad: an implementation's gradients against central differences of the forward direction.
//
// L(v) = sum_i dy_i * forward(v)_i is evaluated by the reference's own loops over double storage. With u the
// variable (an operand of the forward), d a direction of random signs:
//
//   (L(u + h d) - L(u - h d)) / 2h   against   sum_i g_i d_i,   g the implementation's output for u
//
// One direction covers every element; some single coordinates make a failure readable. A difference that
// steps over a kink (a ReLU or a maximum that switches between the two sides) says nothing and is repeated
// with a smaller step, and left out if it still does: the masks and argmaxes of both sides are compared,
// nothing is assumed.

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "check/candidate.hpp"
#include "check/checker.hpp"
#include "check/compare.hpp"
#include "check/descs.hpp"
#include "providers/reference/reference.hpp"
#include "quern/error.hpp"
#include "quern/philox.hpp"

namespace quern::check {
namespace {

constexpr double kStep = 1e-5;
constexpr double kSmallestStep = 1e-8;
constexpr int kDirections = 2;
constexpr int kCoordinates = 3;

/// The operands of the reference over double storage: f32 slots hold doubles, others their own type.
class DoubleOperands {
 public:
  explicit DoubleOperands(const std::vector<TensorDesc>& descs) {
    for (const TensorDesc& desc : descs) {
      const std::size_t size = desc.dtype == DType::f32 ? sizeof(double) : size_of(desc.dtype);
      storage_.emplace_back((static_cast<std::size_t>(desc.elements()) * size + 7) / 8);
    }
  }
  std::vector<double>& values(std::size_t slot) { return storage_[slot]; }
  const std::vector<double>& values(std::size_t slot) const { return storage_[slot]; }
  void set(std::size_t slot, const HostTensor& tensor) {
    if (tensor.desc.dtype != DType::f32) {
      std::memcpy(storage_[slot].data(), tensor.bytes.data(), tensor.bytes.size());
      return;
    }
    for (std::size_t i = 0; i < storage_[slot].size(); ++i) storage_[slot][i] = tensor.value(i);
  }
  std::vector<void*> addresses() {
    std::vector<void*> result;
    for (auto& slot : storage_) result.push_back(slot.data());
    return result;
  }

 private:
  std::vector<std::vector<double>> storage_;
};

/// A forward whose gradient an implementation claims to compute.
struct Problem {
  OpDesc forward;
  DoubleOperands inputs;
  /// Variables: input of the forward -> output of the backward that is its gradient.
  std::vector<std::pair<std::size_t, std::size_t>> variables;
  bool relu_before = false;  ///< input 0 passes through a ReLU first: the backward's mask
  std::vector<double> dy;    ///< of output 0
};

struct Evaluation {
  double value = 0;
  std::vector<bool> signs;  ///< of every value a ReLU saw
  std::vector<std::uint8_t> argmax;
};

bool rectifies(const OpDesc& forward) {
  if (forward.op.kind == OpKind::relu) return true;
  return forward.op.kind == OpKind::batchnorm && forward.as<BatchNormAttrs>().relu;
}

Evaluation evaluate(const Problem& problem) {
  DoubleOperands in = problem.inputs;
  DoubleOperands out(problem.forward.outputs);
  Evaluation result;
  if (problem.relu_before)
    for (double& u : in.values(0)) {
      result.signs.push_back(u > 0);
      u = std::max(u, 0.0);
    }
  const auto in_addresses = in.addresses();
  auto out_addresses = out.addresses();
  reference::run<double>(problem.forward, {in_addresses, out_addresses, nullptr, {}});
  const std::vector<double>& y = out.values(0);
  for (std::size_t i = 0; i < problem.dy.size(); ++i) result.value += problem.dy[i] * y[i];
  if (rectifies(problem.forward))
    for (const double value : y) result.signs.push_back(value > 0);
  if (const int argmax = slot_names(problem.forward).output("argmax"); argmax >= 0) {
    const auto slot = static_cast<std::size_t>(argmax);
    const auto* bytes = static_cast<const std::uint8_t*>(out_addresses[slot]);
    result.argmax.assign(bytes, bytes + problem.forward.outputs[slot].elements());
  }
  return result;
}

/// The derivative along `direction` (of input `slot`), or nothing where a kink is in the way.
std::optional<double> difference(Problem& problem, std::size_t slot, const std::vector<double>& direction) {
  const std::vector<double> centre = problem.inputs.values(slot);
  const auto at = [&](double step) {
    std::vector<double>& u = problem.inputs.values(slot);
    for (std::size_t i = 0; i < u.size(); ++i) u[i] = centre[i] + step * direction[i];
    Evaluation evaluation = evaluate(problem);
    u = centre;
    return evaluation;
  };
  for (double step = kStep; step >= kSmallestStep; step /= 10) {
    const Evaluation above = at(step), below = at(-step);
    if (above.signs != below.signs || above.argmax != below.argmax) continue;
    return (above.value - below.value) / (2 * step);
  }
  return std::nullopt;
}

/// Builds the problem and the backward's inputs from one another, so that saved values, masks and argmaxes
/// belong to the point where the forward is differentiated.
class Builder {
 public:
  Builder(const Case& c, const Operands& inputs) : case_(c), names_(slot_names(c.desc)), backward(inputs) {}

  Problem build() {
    switch (case_.desc.op.kind) {
      case OpKind::conv2d:
        return product<Conv2dAttrs>(conv_forward());
      case OpKind::dense:
        return product<DenseAttrs>(dense_forward());
      case OpKind::batchnorm:
        return batchnorm();
      case OpKind::relu:
        return relu();
      case OpKind::maxpool2d:
      case OpKind::avgpool2d:
        return pool();
      case OpKind::global_avgpool:
        return unary(global_avgpool_desc(Direction::forward, output_shape(), {}),
                     case_.desc.as<GlobalPoolAttrs>().mask);
      case OpKind::dropout: {
        Problem p =
            unary(dropout_desc(Direction::forward, output_shape(), case_.desc.as<DropoutAttrs>()), false);
        p.inputs.set(1, input("step"));
        return p;
      }
      case OpKind::softmax_xent:
        return softmax_xent();
      default:
        break;
    }
    QUERN_REQUIRE(false, "{} has no gradient", case_.name);
  }

  Operands take_backward() { return std::move(backward); }

 private:
  HostTensor& input(std::string_view name) {
    const int index = names_.input(name);
    QUERN_REQUIRE(index >= 0, "{} has no input {}", case_.name, name);
    return backward[static_cast<std::size_t>(index)];
  }
  const Shape& output_shape() const { return case_.desc.outputs[0].shape; }
  float draw(std::uint32_t stream, std::size_t i) const {
    return 2 * uniform_from_u32(philox_u32(hash_name(case_.name), RandomPurpose::test, 64 + stream, 0, i)) -
           1;
  }
  std::vector<double> doubles(const HostTensor& tensor) const {
    std::vector<double> values(static_cast<std::size_t>(tensor.elements()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = tensor.value(i);
    return values;
  }
  /// What went into a ReLU to give `x`: where it was cut off, some negative number.
  static void before_relu(std::vector<double>& x) {
    for (double& u : x)
      if (u <= 0) u = -0.5;
  }

  OpDesc conv_forward() const {
    Conv2dAttrs attrs = case_.desc.as<Conv2dAttrs>();
    attrs.mask = false;
    const bool data = case_.desc.op.direction == Direction::backward_data;
    const Shape& x = data ? output_shape() : case_.desc.inputs[1].shape;
    const Shape& dy = case_.desc.inputs[0].shape;
    return conv2d_desc(Direction::forward, {x[0], x[1], x[2], x[3], dy[3]}, attrs);
  }
  OpDesc dense_forward() const {
    DenseAttrs attrs = case_.desc.as<DenseAttrs>();
    attrs.mask = false;
    const bool data = case_.desc.op.direction == Direction::backward_data;
    const Shape& x = data ? output_shape() : case_.desc.inputs[1].shape;
    return dense_desc(Direction::forward, x[0], x[1], case_.desc.inputs[0].shape[1], attrs);
  }

  template <class A>
  Problem product(const OpDesc& forward) {
    Problem p{forward, DoubleOperands(forward.inputs), {}, false, doubles(input("dy"))};
    const auto random = [&](std::size_t slot) {
      for (std::size_t i = 0; i < p.inputs.values(slot).size(); ++i)
        p.inputs.values(slot)[i] = static_cast<double>(draw(static_cast<std::uint32_t>(slot), i));
    };
    if (case_.desc.op.direction == Direction::backward_data) {
      random(0);
      p.inputs.set(1, input("w"));
      if (case_.desc.as<A>().mask) mask(p, input("x"));
      p.variables = {{0, 0}};
    } else if (case_.desc.op.direction == Direction::backward) {
      p.inputs.set(0, input("x"));
      p.inputs.set(1, input("w"));
      if (case_.desc.as<A>().mask) mask(p, input("x"));
      p.variables = {{0, 0}, {1, 1}};
      if (case_.desc.as<A>().bias) {
        random(2);
        p.variables.push_back({2, 2});
      }
    } else {
      p.inputs.set(0, input("x"));
      random(1);
      p.variables = {{1, 0}};
      if (case_.desc.as<A>().bias) {
        random(2);
        p.variables.push_back({2, 1});
      }
    }
    return p;
  }

  void mask(Problem& p, const HostTensor& x) {
    p.inputs.set(0, x);
    before_relu(p.inputs.values(0));
    p.relu_before = true;
  }

  /// Operations of one differentiable operand: x -> y.
  Problem unary(const OpDesc& forward, bool masked) {
    Problem p{forward, DoubleOperands(forward.inputs), {{0, 0}}, false, doubles(input("dy"))};
    if (masked) {
      mask(p, input("x"));
    } else {
      for (std::size_t i = 0; i < p.inputs.values(0).size(); ++i)
        p.inputs.values(0)[i] = static_cast<double>(draw(0, i));
    }
    return p;
  }

  Problem relu() {
    Problem p = unary(relu_desc(Direction::forward, output_shape()), false);
    p.inputs.set(0, input("y"));
    before_relu(p.inputs.values(0));
    return p;
  }

  Problem pool() {
    Pool2dAttrs attrs = case_.desc.as<Pool2dAttrs>();
    const bool masked = attrs.mask;
    const bool is_max = case_.desc.op.kind == OpKind::maxpool2d;
    attrs.mask = false;
    attrs.save_argmax = is_max;
    const OpDesc forward = pool2d_desc(case_.desc.op.kind, Direction::forward, output_shape(), attrs);
    if (!is_max) return unary(forward, masked);
    Problem p = unary(forward, false);
    p.relu_before = masked;
    store_forward(p);
    return p;
  }

  Problem batchnorm() {
    BatchNormAttrs attrs = case_.desc.as<BatchNormAttrs>();
    const bool masked = attrs.mask;
    attrs.mask = false;
    const OpDesc forward = batchnorm_desc(Direction::forward, output_shape(), attrs);
    Problem p{
        forward, DoubleOperands(forward.inputs), {{0, 0}, {1, 1}, {2, 2}}, masked, doubles(input("dy"))};
    HostTensor& x = input("x");
    HostTensor& gamma = input("gamma");
    // Ties inside a window are kinks: where a maximum follows, move the values apart, and let no gamma be
    // zero.
    if (attrs.pool) {
      for (std::size_t i = 0; i < x.as<float>().size(); ++i)
        if (x.as<float>()[i] != 0 || !masked) x.as<float>()[i] += 0.01f * (1 + draw(1, i));
      for (float& scale : gamma.as<float>()) scale = scale == 0 ? 0.75f : scale;
    }
    p.inputs.set(0, x);
    if (masked) before_relu(p.inputs.values(0));
    p.inputs.set(1, gamma);
    for (std::size_t c = 0; c < p.inputs.values(2).size(); ++c)
      p.inputs.values(2)[c] = static_cast<double>(draw(2, c)) / 2;
    store_forward(p);
    return p;
  }

  /// Runs the forward once and puts what it keeps into the backward's inputs.
  void store_forward(const Problem& p) {
    DoubleOperands in = p.inputs;
    DoubleOperands out(p.forward.outputs);
    if (p.relu_before)
      for (double& u : in.values(0)) u = std::max(u, 0.0);
    const auto in_addresses = in.addresses();
    auto out_addresses = out.addresses();
    reference::run<double>(p.forward, {in_addresses, out_addresses, nullptr, {}});
    const SlotNames forward_names = slot_names(p.forward);
    for (const std::string_view name : {"y", "saved", "argmax"}) {
      const int from = forward_names.output(name), to = names_.input(name);
      if (from < 0 || to < 0) continue;
      HostTensor& target = backward[static_cast<std::size_t>(to)];
      if (target.desc.dtype == DType::u8) {
        std::memcpy(target.bytes.data(), out_addresses[static_cast<std::size_t>(from)], target.bytes.size());
        continue;
      }
      const std::vector<double>& values = out.values(static_cast<std::size_t>(from));
      for (std::size_t i = 0; i < values.size(); ++i) target.as<float>()[i] = static_cast<float>(values[i]);
    }
  }

  Problem softmax_xent() {
    SoftmaxXentAttrs attrs = case_.desc.as<SoftmaxXentAttrs>();
    const auto scale = static_cast<double>(attrs.gradient_scale);
    attrs.gradient = attrs.metrics = false;
    const Shape& logits = case_.desc.inputs[0].shape;
    const OpDesc forward = softmax_xent_desc(logits[0], logits[1], attrs);
    Problem p{forward,
              DoubleOperands(forward.inputs),
              {{0, 1}},
              false,
              std::vector<double>(static_cast<std::size_t>(logits[0]), scale)};
    p.inputs.set(0, input("logits"));
    p.inputs.set(1, input("labels"));
    return p;
  }

  const Case& case_;
  SlotNames names_;
  Operands backward;
};

struct GradientFailure {
  std::string reason;
  std::optional<CheckMismatch> mismatch;
};

/// Compares all directions and coordinates of one variable; returns the largest |error| / tolerance.
class VariableCheck {
 public:
  VariableCheck(Problem& problem, const Case& c, std::size_t input, std::size_t output,
                const HostTensor& gradient, const Limits& limits)
      : problem_(problem), case_(c), input_(input), output_(output), gradient_(gradient), limits_(limits) {
    for (std::size_t i = 0; i < elements(); ++i) squares_ += gradient.value(i) * gradient.value(i);
  }

  double run() {
    for (std::size_t i = 0; i < elements(); ++i)
      if (!std::isfinite(gradient_.value(i))) fail(i, gradient_.value(i), 0, 0);
    double worst = 0;
    for (int k = 0; k < kDirections; ++k) worst = std::max(worst, direction(k));
    for (int k = 0; k < kCoordinates; ++k) worst = std::max(worst, coordinate(k));
    if (differences_ == 0)
      throw GradientFailure{"a kink was in the way of every difference; nothing was verified", {}};
    return worst;
  }

 private:
  std::size_t elements() const { return static_cast<std::size_t>(gradient_.elements()); }
  std::uint32_t bits(int k, std::size_t i) const {
    const auto stream = static_cast<std::uint32_t>(128 + 16 * output_ + static_cast<std::size_t>(k));
    return philox_u32(hash_name(case_.name), RandomPurpose::test, stream, 0, i);
  }

  double direction(int k) {
    std::vector<double> d(elements());
    double along = 0;
    for (std::size_t i = 0; i < d.size(); ++i) {
      d[i] = (bits(k, i) & 1u) != 0 ? 1 : -1;
      along += gradient_.value(i) * d[i];
    }
    const auto expected = difference(problem_, input_, d);
    if (!expected) return 0;
    // The element's limits for as many elements, whose errors have random signs.
    const double tolerance = (1e-5 + 2 * limits_.rtol) * std::sqrt(squares_) +
                             2 * limits_.atol * std::sqrt(static_cast<double>(d.size())) + noise(*expected);
    return judge(std::nullopt, along, *expected, tolerance);
  }

  double coordinate(int k) {
    const std::size_t i = bits(8 + k, 0) % elements();
    std::vector<double> d(elements());
    d[i] = 1;
    const auto expected = difference(problem_, input_, d);
    if (!expected) return 0;
    return judge(i, gradient_.value(i), *expected,
                 2 * limits_.atol + (1e-5 + 2 * limits_.rtol) * std::abs(*expected) + noise(*expected));
  }

  /// What rounding of L itself does to a difference.
  double noise(double expected) const {
    double magnitude = std::abs(expected);
    for (const double g : problem_.dy) magnitude += std::abs(g);
    return 1e-13 / kStep * magnitude;
  }

  double judge(std::optional<std::size_t> index, double got, double expected, double tolerance) {
    ++differences_;
    const double error = std::abs(got - expected);
    if (!(error <= tolerance)) fail(index, got, expected, tolerance);
    return error / tolerance;
  }

  [[noreturn]] void fail(std::optional<std::size_t> index, double got, double expected,
                         double tolerance) const {
    CheckMismatch mismatch;
    mismatch.slot = slot_names(case_.desc).outputs[output_].name;
    mismatch.index = index ? coordinates(gradient_.desc.shape, *index) : "along a direction";
    mismatch.got = got;
    mismatch.expected = expected;
    mismatch.tolerance = tolerance;
    mismatch.count = 1;
    mismatch.elements = elements();
    throw GradientFailure{fmt::format("{} {}: got {:.9g}, central difference {:.9g}, tolerance {:.3g}",
                                      mismatch.slot, mismatch.index, got, expected, tolerance),
                          mismatch};
  }

  Problem& problem_;
  const Case& case_;
  std::size_t input_, output_;
  const HostTensor& gradient_;
  Limits limits_;
  double squares_ = 0;
  int differences_ = 0;  ///< that no kink was in the way of
};

/// Inputs of the backward at the point, in the candidate's types; bf16 moves the point a little.
double check_variables(CaseData& data, const Implementation& implementation, Device& device) {
  const Case& c = data.the_case();
  Builder builder(c, fill_inputs(c, Tier::random, data.precision(), data.oracle()));
  Problem problem = builder.build();
  const Operands inputs = builder.take_backward();
  const Operands expected = data.oracle().run(c.desc, inputs);
  const OpDesc desc = at_precision(c.desc, data.precision());
  const auto executable = implementation.prepare(desc, device);
  const Operands got = run_exact({desc, stored_as(desc, inputs), *executable, device}, Poison::quiet_nan);
  const Solved solved{desc, Tier::random, inputs, expected};
  double worst = 0;
  for (const auto& [input, output] : problem.variables)
    worst = std::max(worst, VariableCheck(problem, c, input, output, got[output],
                                          limits_for(solved, output, implementation.exact))
                                .run());
  return worst;
}

}  // namespace

CheckResult check_gradient(CaseData& data, const Implementation& implementation, Device& device) {
  CheckResult result = begin_result(data, implementation, device.info());
  if (result.status == CheckStatus::unsupported) return result;
  result.status = CheckStatus::fail;
  try {
    result.worst = check_variables(data, implementation, device);
    result.status = CheckStatus::pass;
  } catch (GradientFailure& failed) {
    result.failure = CheckFailure::gradient;
    result.reason = std::move(failed.reason);
    result.mismatch = std::move(failed.mismatch);
  } catch (const std::exception& error) {
    result.failure = CheckFailure::error;
    result.reason = fmt::format("it threw: {}", error.what());
  }
  return result;
}

}  // namespace quern::check
