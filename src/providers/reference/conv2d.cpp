#include "providers/reference/gather.hpp"
#include "providers/reference/halves.hpp"
#include "providers/reference/ops.hpp"
#include "providers/reference/window.hpp"

namespace quern::reference {

namespace {

/// Channels and filters of one group.
struct Groups {
  Index c, k;
};
Groups groups(const Conv2dAttrs& attrs, const Shape& x, const Shape& y) {
  return {x[3] / attrs.groups, y[3] / attrs.groups};
}

Axes conv_axes(const Conv2dAttrs& attrs, const Shape& x, const Shape& y) {
  return axes(attrs.window, x, y, attrs.dilation_h, attrs.dilation_w);
}

}  // namespace

template <class Real>
void conv2d_forward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<Conv2dAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> y = operands.output(), stats = operands.output_if(attrs.stats);
  const ImageBatch<Real> batch(operands, attrs, y.extent(0), desc.outputs[0].dtype);
  const View<Real>& x = batch.view();
  const View<Real> w = operands.input(), bias = operands.input_if(attrs.bias);
  const Axes at = conv_axes(attrs, x.shape(), y.shape());
  const Groups group = groups(attrs, x.shape(), y.shape());

#pragma omp parallel for collapse(2) schedule(static)
  for (Index n = 0; n < y.extent(0); ++n) {
    for (Index p = 0; p < y.extent(1); ++p) {
      for (Index q = 0; q < y.extent(2); ++q) {
        for (Index k = 0; k < y.extent(3); ++k) {
          const Index first_channel = k / group.k * group.c;
          double sum = bias ? bias[k] : 0.0;
          for (int r = 0; r < at.h.taps; ++r) {
            for (int s = 0; s < at.w.taps; ++s) {
              const Index ih = at.h.input_of(p, r), iw = at.w.input_of(q, s);
              if (ih < 0 || iw < 0) continue;
              for (Index c = 0; c < group.c; ++c) sum += x(n, ih, iw, first_channel + c) * w(k, r, s, c);
            }
          }
          y(n, p, q, k) = attrs.relu ? relu(sum) : sum;
        }
      }
    }
  }

  if (!stats) return;
#pragma omp parallel for schedule(static)
  for (Index k = 0; k < y.extent(3); ++k) {
    const Moments m = moments(y, k);
    stats(0, k) = m.mean;
    stats(1, k) = m.variance;
  }
}

template <class Real>
void conv2d_backward_data(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<Conv2dAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> dy = operands.input(), w = operands.input(), x = operands.input_if(attrs.mask);
  const View<Real> dx = operands.output();
  const Axes at = conv_axes(attrs, dx.shape(), dy.shape());
  const Groups group = groups(attrs, dx.shape(), dy.shape());

#pragma omp parallel for collapse(2) schedule(static)
  for (Index n = 0; n < dx.extent(0); ++n) {
    for (Index ih = 0; ih < dx.extent(1); ++ih) {
      for (Index iw = 0; iw < dx.extent(2); ++iw) {
        for (Index c = 0; c < dx.extent(3); ++c) {
          const Index first_filter = c / group.c * group.k;
          double sum = 0;
          for (int r = 0; r < at.h.taps; ++r) {
            for (int s = 0; s < at.w.taps; ++s) {
              const Index p = at.h.output_of(ih, r), q = at.w.output_of(iw, s);
              if (p < 0 || q < 0) continue;
              for (Index k = first_filter; k < first_filter + group.k; ++k)
                sum += dy(n, p, q, k) * w(k, r, s, c % group.c);
            }
          }
          dx(n, ih, iw, c) = !x || x(n, ih, iw, c) > 0 ? sum : 0;
        }
      }
    }
  }
}

template <class Real>
void conv2d_backward_weights(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<Conv2dAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> dy = operands.input();
  const ImageBatch<Real> batch(operands, attrs, dy.extent(0), desc.inputs[0].dtype);
  const View<Real>& x = batch.view();
  const View<Real> dw = operands.output(), dbias = operands.output_if(attrs.bias);
  const Axes at = conv_axes(attrs, x.shape(), dy.shape());
  const Groups group = groups(attrs, x.shape(), dy.shape());

#pragma omp parallel for collapse(2) schedule(static)
  for (Index k = 0; k < dw.extent(0); ++k) {
    for (Index r = 0; r < dw.extent(1); ++r) {
      for (Index s = 0; s < dw.extent(2); ++s) {
        for (Index c = 0; c < dw.extent(3); ++c) {
          const Index channel = k / group.k * group.c + c;
          double sum = 0;
          for (Index n = 0; n < dy.extent(0); ++n) {
            for (Index p = 0; p < dy.extent(1); ++p) {
              const Index ih = at.h.input_of(p, r);
              if (ih < 0) continue;
              for (Index q = 0; q < dy.extent(2); ++q) {
                const Index iw = at.w.input_of(q, s);
                if (iw >= 0) sum += dy(n, p, q, k) * x(n, ih, iw, channel);
              }
            }
          }
          dw(k, r, s, c) = sum;
        }
      }
    }
  }

  if (!dbias) return;
#pragma omp parallel for schedule(static)
  for (Index k = 0; k < dy.extent(3); ++k) {
    double sum = 0;
    for (Index i = k; i < dy.elements(); i += dy.extent(3)) sum += dy[i];
    dbias[k] = sum;
  }
}

template <class Real>
void conv2d_backward(const OpDesc& desc, const RunArgs& args) {
  run_halves<Conv2dAttrs>(desc, args, conv2d_backward_data<Real>, conv2d_backward_weights<Real>);
}

QUERN_REFERENCE_INSTANTIATE(conv2d_forward);
QUERN_REFERENCE_INSTANTIATE(conv2d_backward_data);
QUERN_REFERENCE_INSTANTIATE(conv2d_backward_weights);
QUERN_REFERENCE_INSTANTIATE(conv2d_backward);

}  // namespace quern::reference
