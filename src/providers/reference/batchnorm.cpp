#include "providers/reference/ops.hpp"
#include "providers/reference/window.hpp"

namespace quern::reference {

namespace {

/// One channel's map from x to the normalised, scaled and, where it is fused, rectified value.
struct Normalise {
  double mean, inverse_deviation, gamma, beta;
  bool rectify;

  double operator()(double x) const {
    const double value = gamma * ((x - mean) * inverse_deviation) + beta;
    return rectify ? relu(value) : value;
  }
};

/// Writes channel c of y, pooled where pooling is fused. The maximum is taken over values rounded to y's
/// type, so that the fused operation and the sequence of its parts give the same y and the same argmax.
template <class Real>
void write_channel(const BatchNormAttrs& attrs, const Normalise& normalise, const View<Real>& x,
                   const View<Real>& y, std::uint8_t* argmax, Index c) {
  const Index channels = x.extent(x.shape().rank() - 1);
  if (!attrs.pool) {
    for (Index i = c; i < x.elements(); i += channels) y[i] = normalise(x[i]);
    return;
  }
  const Axes at = axes(attrs.window, x.shape(), y.shape());
  for (Index n = 0; n < y.extent(0); ++n) {
    for (Index p = 0; p < y.extent(1); ++p) {
      for (Index q = 0; q < y.extent(2); ++q) {
        const Maximum maximum =
            window_maximum(at, p, q, [&](Index h, Index w) { return y.rounded(normalise(x(n, h, w, c))); });
        y(n, p, q, c) = maximum.value;
        if (argmax != nullptr)
          argmax[((n * y.extent(1) + p) * y.extent(2) + q) * channels + c] =
              static_cast<std::uint8_t>(maximum.index);
      }
    }
  }
}

}  // namespace

template <class Real>
void batchnorm_forward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<BatchNormAttrs>();
  const double momentum = attrs.momentum, epsilon = attrs.epsilon;
  Operands<Real> operands(desc, args);
  const View<Real> x = operands.input(), gamma = operands.input(), beta = operands.input();
  const View<Real> old_mean = operands.input(), old_variance = operands.input();
  const View<Real> stats = operands.input_if(attrs.stats);
  const View<Real> y = operands.output(), saved = operands.output();
  const View<Real> new_mean = operands.output(), new_variance = operands.output();
  auto* const argmax = attrs.pool ? operands.template raw_output<std::uint8_t>() : nullptr;

#pragma omp parallel for schedule(static)
  for (Index c = 0; c < gamma.extent(0); ++c) {
    const Moments batch = stats ? Moments{stats(0, c), stats(1, c)} : moments(x, c);
    const double inverse_deviation = 1 / std::sqrt(batch.variance + epsilon);
    saved(0, c) = batch.mean;
    saved(1, c) = inverse_deviation;
    new_mean[c] = momentum * old_mean[c] + (1 - momentum) * batch.mean;
    new_variance[c] = momentum * old_variance[c] + (1 - momentum) * batch.variance;
    write_channel(attrs, {batch.mean, inverse_deviation, gamma[c], beta[c], attrs.relu}, x, y, argmax, c);
  }
}

template <class Real>
void batchnorm_inference(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<BatchNormAttrs>();
  const double epsilon = attrs.epsilon;
  Operands<Real> operands(desc, args);
  const View<Real> x = operands.input(), gamma = operands.input(), beta = operands.input();
  const View<Real> mean = operands.input(), variance = operands.input();
  const View<Real> y = operands.output();

#pragma omp parallel for schedule(static)
  for (Index c = 0; c < gamma.extent(0); ++c) {
    const double inverse_deviation = 1 / std::sqrt(variance[c] + epsilon);
    write_channel(attrs, {mean[c], inverse_deviation, gamma[c], beta[c], attrs.relu}, x, y, nullptr, c);
  }
}

template <class Real>
void batchnorm_backward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<BatchNormAttrs>();
  Operands<Real> operands(desc, args);
  const View<Real> dy = operands.input(), x = operands.input(), gamma = operands.input();
  const View<Real> saved = operands.input(), y = operands.input_if(attrs.relu);
  const auto* const argmax = attrs.pool ? operands.template raw_input<std::uint8_t>() : nullptr;
  const View<Real> dx = operands.output(), dgamma = operands.output(), dbeta = operands.output();

  const Index channels = gamma.extent(0);
  const Index rows = x.elements() / channels;

  // dy behind the fused ReLU, by its index.
  const auto rectified = [&](Index i) -> double { return !y || y[i] > 0 ? dy[i] : 0.0; };
  // The gradient of the normalised value in row `row`: behind the fused pooling, too.
  const auto gradient = [&](Index row, Index c) -> double {
    if (!attrs.pool) return rectified(row * channels + c);
    const Axes at = axes(attrs.window, x.shape(), dy.shape());
    const Index width = x.extent(2), height = x.extent(1);
    const Index n = row / (height * width), h = row / width % height, w = row % width;
    const auto pooled = [&](Index p, Index q) {
      return ((n * dy.extent(1) + p) * dy.extent(2) + q) * channels + c;
    };
    return maximum_gradient(
        at, h, w, [&](Index p, Index q) { return argmax[pooled(p, q)]; },
        [&](Index p, Index q) { return rectified(pooled(p, q)); });
  };

#pragma omp parallel for schedule(static)
  for (Index c = 0; c < channels; ++c) {
    const double mean = saved(0, c), inverse_deviation = saved(1, c);
    const auto normalised = [&](Index row) { return (x[row * channels + c] - mean) * inverse_deviation; };
    double sum = 0, sum_normalised = 0;
    for (Index row = 0; row < rows; ++row) {
      const double g = gradient(row, c);
      sum += g;
      sum_normalised += g * normalised(row);
    }
    dbeta[c] = sum;
    dgamma[c] = sum_normalised;

    const double mean_gradient = sum / static_cast<double>(rows);
    const double mean_normalised = sum_normalised / static_cast<double>(rows);
    for (Index row = 0; row < rows; ++row) {
      const Index i = row * channels + c;
      const double centred = gradient(row, c) - mean_gradient - normalised(row) * mean_normalised;
      dx[i] = !attrs.mask || x[i] > 0 ? gamma[c] * inverse_deviation * centred : 0;
    }
  }
}

QUERN_REFERENCE_INSTANTIATE(batchnorm_forward);
QUERN_REFERENCE_INSTANTIATE(batchnorm_inference);
QUERN_REFERENCE_INSTANTIATE(batchnorm_backward);

}  // namespace quern::reference
