#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"
#include "quern/philox.hpp"

namespace quern::reference {

namespace {

/// What element i is multiplied by in this step, forward and backward alike.
double factor(const DropoutAttrs& attrs, const StepScalars& step, Index i) {
  const std::uint32_t bits =
      philox_u32(step.seed, RandomPurpose::dropout, attrs.stream, step.step, static_cast<std::uint64_t>(i));
  const bool survives = uniform_from_u32(bits) >= attrs.probability;
  return survives ? 1 / (1 - static_cast<double>(attrs.probability)) : 0;
}

/// Zeroed elements are zero even where the operand is not finite.
template <class Real>
void apply(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<DropoutAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> from = operands.input();
  const StepScalars step = operands.step();
  const View<Real> to = operands.output();
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < from.elements(); ++i) {
    const double scale = factor(attrs, step, i);
    to[i] = scale != 0 ? from[i] * scale : 0;
  }
}

}  // namespace

template <class Real>
void dropout_forward(const OpDesc& desc, const RunArgs& args) {
  apply<Real>(desc, args);
}

template <class Real>
void dropout_backward(const OpDesc& desc, const RunArgs& args) {
  apply<Real>(desc, args);
}

QUERN_REFERENCE_INSTANTIATE(dropout_forward);
QUERN_REFERENCE_INSTANTIATE(dropout_backward);

}  // namespace quern::reference
