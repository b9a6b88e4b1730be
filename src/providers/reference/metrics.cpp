#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"

namespace quern::reference {

namespace {

/// Whether the label's logit is the first maximum of its row. A NaN in the row compares false: no hit.
template <class Real>
bool hit(const View<Real>& logits, Index n, Index label) {
  const double own = logits(n, label);
  for (Index c = 0; c < logits.extent(1); ++c) {
    const bool beaten = c < label ? own > logits(n, c) : own >= logits(n, c);
    if (!beaten) return false;
  }
  return true;
}

}  // namespace

template <class Real>
void metrics_forward(const OpDesc& desc, const RunArgs& args) {
  Operands<Real> operands(desc, args);
  const View<Real> loss = operands.input(), logits = operands.input();
  const auto* const labels = operands.template raw_input<std::int32_t>();
  const auto* const before = operands.template raw_input<Metrics>();
  auto* const after = operands.template raw_output<Metrics>();
  Metrics metrics = *before;

  const Index samples = logits.extent(0), classes = logits.extent(1);
  for (Index n = 0; n < samples; ++n) {
    QUERN_REQUIRE(labels[n] >= 0 && labels[n] < classes, "metrics: label {} of sample {} is not below {}",
                  labels[n], n, classes);
    metrics.loss_sum += loss[n];
    metrics.correct += hit(logits, n, labels[n]) ? 1 : 0;
    metrics.count += 1;
    metrics.nonfinite += std::isfinite(double(loss[n])) ? 0 : 1;
  }
  *after = metrics;
}

QUERN_REFERENCE_INSTANTIATE(metrics_forward);

}  // namespace quern::reference
