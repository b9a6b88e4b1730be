#pragma once

/// What a batch adds to the metrics.

#include "providers/reference/view.hpp"

namespace quern::reference {

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

/// `before` with a sample for every row of `logits`.
template <class Real>
Metrics with_batch(Metrics before, const View<Real>& loss, const View<Real>& logits,
                   const std::int32_t* labels) {
  const Index samples = logits.extent(0), classes = logits.extent(1);
  for (Index n = 0; n < samples; ++n) {
    QUERN_REQUIRE(labels[n] >= 0 && labels[n] < classes, "metrics: label {} of sample {} is not below {}",
                  labels[n], n, classes);
    before.loss_sum += loss[n];
    before.correct += hit(logits, n, labels[n]) ? 1 : 0;
    before.count += 1;
    before.nonfinite += std::isfinite(double(loss[n])) ? 0 : 1;
  }
  return before;
}

}  // namespace quern::reference
