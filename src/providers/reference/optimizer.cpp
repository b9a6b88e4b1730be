#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"

namespace quern::reference {

namespace {

/// One parameter and its state; a rule moves it by gradient g, clipped already.
struct Parameter {
  double p, slot1, slot2;
};

Parameter update(const OptimizerAttrs& attrs, const StepScalars& step, double decay, Parameter old,
                 double g) {
  const double lr = step.learning_rate, mu = attrs.momentum;
  const double b1 = attrs.beta1, b2 = attrs.beta2, epsilon = attrs.epsilon;
  const double corrected_lr = lr * std::sqrt(double(step.bias_correction2)) / double(step.bias_correction1);
  const double p = old.p;
  const auto adam = [&](double start, double gradient) -> Parameter {
    const double m = b1 * old.slot1 + (1 - b1) * gradient;
    const double v = b2 * old.slot2 + (1 - b2) * gradient * gradient;
    return {start - corrected_lr * m / (std::sqrt(v) + epsilon), m, v};
  };
  switch (attrs.kind) {
    case OptimizerKind::sgd:
      return {p - lr * (g + decay * p), 0, 0};
    case OptimizerKind::momentum: {
      const double v = mu * old.slot1 + (g + decay * p);
      return {p - lr * v, v, 0};
    }
    case OptimizerKind::nesterov: {
      const double v = mu * old.slot1 + (g + decay * p);
      return {p - lr * (g + decay * p + mu * v), v, 0};
    }
    case OptimizerKind::adam:
      return adam(p, g + decay * p);
    case OptimizerKind::adamw:
      break;
  }
  return adam(p - lr * decay * p, g);
}

/// min(1, clip_norm / ||g||) over all parameters; 1 where clipping is off.
template <class Real>
double clip_factor(const OptimizerAttrs& attrs, const View<Real>& grads) {
  if (attrs.clip_norm <= 0) return 1;
  double squares = 0;
  for (const ParamSegment& segment : attrs.segments)
    for (Index i = segment.offset; i < segment.offset + segment.elements; ++i) squares += grads[i] * grads[i];
  const double norm = std::sqrt(squares), limit = attrs.clip_norm;
  return norm > limit ? limit / norm : 1;
}

}  // namespace

template <class Real>
void optimizer_forward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<OptimizerAttrs>();
  Operands<Real> operands(desc, args);
  const StepScalars step = operands.step();
  const View<Real> grads = operands.input(), params = operands.input();
  const View<Real> slot1 = operands.input_if(attrs.slots() >= 1),
                   slot2 = operands.input_if(attrs.slots() >= 2);
  const bool skip = attrs.guarded && operands.template raw_input<StepGuard>()->skip != 0;
  const View<Real> new_params = operands.output();
  const View<Real> new_slot1 = operands.output_if(attrs.slots() >= 1);
  const View<Real> new_slot2 = operands.output_if(attrs.slots() >= 2);

  const double clip = skip ? 0 : clip_factor(attrs, grads);
  for (const ParamSegment& segment : attrs.segments) {
    const double decay = segment.decay ? double(attrs.weight_decay) : 0.0;
#pragma omp parallel for schedule(static)
    for (Index i = segment.offset; i < segment.offset + segment.elements; ++i) {
      const Parameter old{params[i], slot1 ? slot1[i] : 0.0, slot2 ? slot2[i] : 0.0};
      const Parameter now = skip ? old : update(attrs, step, decay, old, grads[i] * clip);
      new_params[i] = now.p;
      if (new_slot1) new_slot1[i] = now.slot1;
      if (new_slot2) new_slot2[i] = now.slot2;
    }
  }
  if (attrs.advance) operands.advance(step);
}

QUERN_REFERENCE_INSTANTIATE(optimizer_forward);

}  // namespace quern::reference
