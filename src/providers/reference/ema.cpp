#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"

namespace quern::reference {

template <class Real>
void ema_forward(const OpDesc& desc, const RunArgs& args) {
  Operands<Real> operands(desc, args);
  const StepScalars step = operands.step();
  const auto& attrs = desc.as<EmaAttrs>();
  const View<Real> values = operands.input(), average = operands.input(), updated = operands.output();
  const bool skip = attrs.guarded && operands.template raw_input<StepGuard>()->skip != 0;
  const double decay = step.ema_decay;
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < values.elements(); ++i)
    updated[i] = skip ? double(average[i]) : decay * average[i] + (1 - decay) * values[i];
  if (attrs.advance) operands.advance(step);
}

QUERN_REFERENCE_INSTANTIATE(ema_forward);

}  // namespace quern::reference
