#include "providers/reference/ops.hpp"
#include "providers/reference/window.hpp"

namespace quern::reference {

namespace {

/// What the sum over window (p, q) is divided by.
double divisor(const Pool2dAttrs& attrs, const Axes& at, Index p, Index q) {
  if (attrs.count_include_pad) return static_cast<double>(at.h.taps) * at.w.taps;
  int rows = 0, columns = 0;
  for (int r = 0; r < at.h.taps; ++r) rows += at.h.input_of(p, r) >= 0 ? 1 : 0;
  for (int s = 0; s < at.w.taps; ++s) columns += at.w.input_of(q, s) >= 0 ? 1 : 0;
  return static_cast<double>(rows) * columns;
}

}  // namespace

template <class Real>
void avgpool2d_forward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<Pool2dAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> x = operands.input(), y = operands.output();
  const Axes at = axes(attrs.window, x.shape(), y.shape());

#pragma omp parallel for collapse(2) schedule(static)
  for (Index n = 0; n < y.extent(0); ++n) {
    for (Index p = 0; p < y.extent(1); ++p) {
      for (Index q = 0; q < y.extent(2); ++q) {
        for (Index c = 0; c < y.extent(3); ++c) {
          double sum = 0;
          for (int r = 0; r < at.h.taps; ++r) {
            for (int s = 0; s < at.w.taps; ++s) {
              const Index h = at.h.input_of(p, r), w = at.w.input_of(q, s);
              if (h >= 0 && w >= 0) sum += x(n, h, w, c);
            }
          }
          y(n, p, q, c) = sum / divisor(attrs, at, p, q);
        }
      }
    }
  }
}

template <class Real>
void avgpool2d_backward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<Pool2dAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> dy = operands.input(), x = operands.input_if(attrs.mask), dx = operands.output();
  const Axes at = axes(attrs.window, dx.shape(), dy.shape());

#pragma omp parallel for collapse(2) schedule(static)
  for (Index n = 0; n < dx.extent(0); ++n) {
    for (Index h = 0; h < dx.extent(1); ++h) {
      for (Index w = 0; w < dx.extent(2); ++w) {
        for (Index c = 0; c < dx.extent(3); ++c) {
          double sum = 0;
          for (int r = 0; r < at.h.taps; ++r) {
            for (int s = 0; s < at.w.taps; ++s) {
              const Index p = at.h.output_of(h, r), q = at.w.output_of(w, s);
              if (p >= 0 && q >= 0) sum += dy(n, p, q, c) / divisor(attrs, at, p, q);
            }
          }
          dx(n, h, w, c) = !x || x(n, h, w, c) > 0 ? sum : 0;
        }
      }
    }
  }
}

QUERN_REFERENCE_INSTANTIATE(avgpool2d_forward);
QUERN_REFERENCE_INSTANTIATE(avgpool2d_backward);

}  // namespace quern::reference
