#include "providers/reference/metrics.hpp"

#include "providers/reference/ops.hpp"

namespace quern::reference {

template <class Real>
void metrics_forward(const OpDesc& desc, const RunArgs& args) {
  Operands<Real> operands(desc, args);
  const View<Real> loss = operands.input(), logits = operands.input();
  const auto* const labels = operands.template raw_input<std::int32_t>();
  const auto* const before = operands.template raw_input<Metrics>();
  *operands.template raw_output<Metrics>() = with_batch(*before, loss, logits, labels);
}

QUERN_REFERENCE_INSTANTIATE(metrics_forward);

}  // namespace quern::reference
