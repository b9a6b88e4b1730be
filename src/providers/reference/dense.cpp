#include "providers/reference/halves.hpp"
#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"

namespace quern::reference {

template <class Real>
void dense_forward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<DenseAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> x = operands.input(), w = operands.input(), bias = operands.input_if(attrs.bias);
  const View<Real> y = operands.output(), stats = operands.output_if(attrs.stats);

#pragma omp parallel for collapse(2) schedule(static)
  for (Index n = 0; n < y.extent(0); ++n) {
    for (Index k = 0; k < y.extent(1); ++k) {
      double sum = bias ? bias[k] : 0.0;
      for (Index c = 0; c < x.extent(1); ++c) sum += x(n, c) * w(k, c);
      y(n, k) = attrs.relu ? relu(sum) : sum;
    }
  }

  if (!stats) return;
#pragma omp parallel for schedule(static)
  for (Index k = 0; k < y.extent(1); ++k) {
    const Moments m = moments(y, k);
    stats(0, k) = m.mean;
    stats(1, k) = m.variance;
  }
}

template <class Real>
void dense_backward_data(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<DenseAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> dy = operands.input(), w = operands.input(), x = operands.input_if(attrs.mask);
  const View<Real> dx = operands.output();

#pragma omp parallel for collapse(2) schedule(static)
  for (Index n = 0; n < dx.extent(0); ++n) {
    for (Index c = 0; c < dx.extent(1); ++c) {
      double sum = 0;
      for (Index k = 0; k < dy.extent(1); ++k) sum += dy(n, k) * w(k, c);
      dx(n, c) = !x || x(n, c) > 0 ? sum : 0;
    }
  }
}

template <class Real>
void dense_backward_weights(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<DenseAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> dy = operands.input(), x = operands.input();
  const View<Real> dw = operands.output(), dbias = operands.output_if(attrs.bias);

#pragma omp parallel for schedule(static)
  for (Index k = 0; k < dw.extent(0); ++k) {
    for (Index c = 0; c < dw.extent(1); ++c) {
      double sum = 0;
      for (Index n = 0; n < dy.extent(0); ++n) sum += dy(n, k) * x(n, c);
      dw(k, c) = sum;
    }
    if (dbias) {
      double sum = 0;
      for (Index n = 0; n < dy.extent(0); ++n) sum += dy(n, k);
      dbias[k] = sum;
    }
  }
}

template <class Real>
void dense_backward(const OpDesc& desc, const RunArgs& args) {
  run_halves<DenseAttrs>(desc, args, dense_backward_data<Real>, dense_backward_weights<Real>);
}

QUERN_REFERENCE_INSTANTIATE(dense_forward);
QUERN_REFERENCE_INSTANTIATE(dense_backward_data);
QUERN_REFERENCE_INSTANTIATE(dense_backward_weights);
QUERN_REFERENCE_INSTANTIATE(dense_backward);

}  // namespace quern::reference
