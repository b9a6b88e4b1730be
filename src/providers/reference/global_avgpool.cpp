#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"

namespace quern::reference {

template <class Real>
void global_avgpool_forward(const OpDesc& desc, const RunArgs& args) {
  Operands<Real> operands(desc, args);
  const View<Real> x = operands.input(), y = operands.output();
  const double area = static_cast<double>(x.extent(1) * x.extent(2));

#pragma omp parallel for collapse(2) schedule(static)
  for (Index n = 0; n < y.extent(0); ++n) {
    for (Index c = 0; c < y.extent(1); ++c) {
      double sum = 0;
      for (Index h = 0; h < x.extent(1); ++h)
        for (Index w = 0; w < x.extent(2); ++w) sum += x(n, h, w, c);
      y(n, c) = sum / area;
    }
  }
}

template <class Real>
void global_avgpool_backward(const OpDesc& desc, const RunArgs& args) {
  Operands<Real> operands(desc, args);
  const View<Real> dy = operands.input(), x = operands.input_if(desc.as<GlobalPoolAttrs>().mask);
  const View<Real> dx = operands.output();
  const double area = static_cast<double>(dx.extent(1) * dx.extent(2));

#pragma omp parallel for collapse(2) schedule(static)
  for (Index n = 0; n < dx.extent(0); ++n)
    for (Index h = 0; h < dx.extent(1); ++h)
      for (Index w = 0; w < dx.extent(2); ++w)
        for (Index c = 0; c < dx.extent(3); ++c)
          dx(n, h, w, c) = !x || x(n, h, w, c) > 0 ? dy(n, c) / area : 0;
}

QUERN_REFERENCE_INSTANTIATE(global_avgpool_forward);
QUERN_REFERENCE_INSTANTIATE(global_avgpool_backward);

}  // namespace quern::reference
