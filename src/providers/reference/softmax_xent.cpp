#include "providers/reference/gather.hpp"
#include "providers/reference/metrics.hpp"
#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"

namespace quern::reference {

template <class Real>
void softmax_xent_forward(const OpDesc& desc, const RunArgs& args) {
  const auto& attrs = desc.as<SoftmaxXentAttrs>();
  const double smoothing = attrs.label_smoothing, gradient_scale = attrs.gradient_scale;
  Operands<Real> operands(desc, args);
  const View<Real> logits = operands.input();
  const std::vector<std::int32_t> labels = label_batch(operands, attrs.gather, logits.extent(0));
  const View<Real> loss = operands.output(), dlogits = operands.output_if(attrs.gradient);
  const auto* const before = attrs.metrics ? operands.template raw_input<Metrics>() : nullptr;
  auto* const after = attrs.metrics ? operands.template raw_output<Metrics>() : nullptr;

  const Index samples = logits.extent(0), classes = logits.extent(1);
  for (const std::int32_t label : labels)
    QUERN_REQUIRE(label >= 0 && label < classes, "softmax_xent: label {} of sample {} is not below {}", label,
                  &label - labels.data(), classes);

#pragma omp parallel for schedule(static)
  for (Index n = 0; n < samples; ++n) {
    const std::int32_t label = labels[static_cast<std::size_t>(n)];
    const auto target = [&](Index c) {
      return (c == label ? 1 - smoothing : 0) + smoothing / static_cast<double>(classes);
    };
    // With the largest logit taken out first, nothing overflows and no digits are lost.
    double largest = logits(n, 0);
    for (Index c = 1; c < classes; ++c) largest = logits(n, c) > largest ? double(logits(n, c)) : largest;
    double sum = 0;
    for (Index c = 0; c < classes; ++c) sum += std::exp(logits(n, c) - largest);
    const double log_sum = std::log(sum);
    const auto log_probability = [&](Index c) { return (logits(n, c) - largest) - log_sum; };

    double cross_entropy = 0;
    for (Index c = 0; c < classes; ++c)
      if (target(c) != 0) cross_entropy -= target(c) * log_probability(c);
    loss[n] = cross_entropy;

    if (!dlogits) continue;
    for (Index c = 0; c < classes; ++c)
      dlogits(n, c) = (std::exp(log_probability(c)) - target(c)) * gradient_scale;
  }
  if (after != nullptr) *after = with_batch(*before, loss, logits, labels.data());
}

QUERN_REFERENCE_INSTANTIATE(softmax_xent_forward);

}  // namespace quern::reference
