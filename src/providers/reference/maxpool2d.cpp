#include "providers/reference/ops.hpp"
#include "providers/reference/window.hpp"

namespace quern::reference {

template <class Real>
void maxpool2d_forward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<Pool2dAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> x = operands.input(), y = operands.output();
  auto* const argmax = attrs.save_argmax ? operands.template raw_output<std::uint8_t>() : nullptr;
  const Axes at = axes(attrs.window, x.shape(), y.shape());

#pragma omp parallel for collapse(2) schedule(static)
  for (Index n = 0; n < y.extent(0); ++n) {
    for (Index p = 0; p < y.extent(1); ++p) {
      for (Index q = 0; q < y.extent(2); ++q) {
        for (Index c = 0; c < y.extent(3); ++c) {
          const Maximum maximum =
              window_maximum(at, p, q, [&](Index h, Index w) -> double { return x(n, h, w, c); });
          y(n, p, q, c) = maximum.value;
          if (argmax != nullptr)
            argmax[((n * y.extent(1) + p) * y.extent(2) + q) * y.extent(3) + c] =
                static_cast<std::uint8_t>(maximum.index);
        }
      }
    }
  }
}

template <class Real>
void maxpool2d_backward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<Pool2dAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> dy = operands.input();
  const auto* const argmax = operands.template raw_input<std::uint8_t>();
  const View<Real> y = operands.input_if(attrs.mask), dx = operands.output();
  const Axes at = axes(attrs.window, dx.shape(), dy.shape());

#pragma omp parallel for collapse(2) schedule(static)
  for (Index n = 0; n < dx.extent(0); ++n) {
    for (Index h = 0; h < dx.extent(1); ++h) {
      for (Index w = 0; w < dx.extent(2); ++w) {
        for (Index c = 0; c < dx.extent(3); ++c) {
          // The maximum itself is y, so that y > 0 masks the gradient of the one element it goes to.
          dx(n, h, w, c) = maximum_gradient(
              at, h, w,
              [&](Index p, Index q) {
                return argmax[((n * dy.extent(1) + p) * dy.extent(2) + q) * dy.extent(3) + c];
              },
              [&](Index p, Index q) -> double { return !y || y(n, p, q, c) > 0 ? dy(n, p, q, c) : 0.0; });
        }
      }
    }
  }
}

QUERN_REFERENCE_INSTANTIATE(maxpool2d_forward);
QUERN_REFERENCE_INSTANTIATE(maxpool2d_backward);

}  // namespace quern::reference
