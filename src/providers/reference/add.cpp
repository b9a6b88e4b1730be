#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"

namespace quern::reference {

template <class Real>
void add_forward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<AddAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> a = operands.input(), b = operands.input(), y = operands.output();
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < y.elements(); ++i) y[i] = attrs.relu ? relu(a[i] + b[i]) : a[i] + b[i];
}

QUERN_REFERENCE_INSTANTIATE(add_forward);

}  // namespace quern::reference
