#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"

namespace quern::reference {

template <class Real>
void relu_forward(const OpDesc& desc, const RunArgs& args) {
  Operands<Real> operands(desc, args);
  const View<Real> x = operands.input(), y = operands.output();
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < x.elements(); ++i) y[i] = relu(x[i]);
}

template <class Real>
void relu_backward(const OpDesc& desc, const RunArgs& args) {
  Operands<Real> operands(desc, args);
  const View<Real> dy = operands.input(), y = operands.input(), dx = operands.output();
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < dy.elements(); ++i) dx[i] = y[i] > 0 ? dy[i] : 0.0;
}

QUERN_REFERENCE_INSTANTIATE(relu_forward);
QUERN_REFERENCE_INSTANTIATE(relu_backward);

}  // namespace quern::reference
