#include "providers/reference/ops.hpp"
#include "providers/reference/view.hpp"

namespace quern::reference {

namespace {

template <class Real>
bool all_finite(const View<Real>& values) {
  for (Index i = 0; i < values.elements(); ++i)
    if (!std::isfinite(double(values[i]))) return false;
  return true;
}

/// The first of the two is read when the step is skipped, the second otherwise; both become what was read.
template <class T>
void agree(bool skip, T& kept, T& live) {
  (skip ? live : kept) = skip ? kept : live;
}

}  // namespace

template <class Real>
void guard_forward(const OpDesc& desc, const RunArgs& args) {
  Operands<Real> operands(desc, args);
  const View<Real> loss = operands.input(), grads = operands.input();
  Metrics metrics = *operands.template raw_input<Metrics>(), kept = *operands.template raw_input<Metrics>();
  StepGuard guard = *operands.template raw_input<StepGuard>();

  const bool skip = !all_finite(loss) || !all_finite(grads);
  agree(skip, kept, metrics);
  guard.skip = skip ? 1 : 0;
  guard.skipped += guard.skip;
  guard.in_a_row = skip ? guard.in_a_row + 1 : 0;
  guard.longest_row = std::max(guard.longest_row, guard.in_a_row);

  const bool statistics = desc.as<GuardAttrs>().statistics;
  const View<Real> running = operands.input_if(statistics), kept_running = operands.input_if(statistics);
  *operands.template raw_output<Metrics>() = metrics;
  *operands.template raw_output<Metrics>() = kept;
  *operands.template raw_output<StepGuard>() = guard;
  if (!statistics) return;
  const View<Real> new_running = operands.output(), new_kept = operands.output();
  for (Index i = 0; i < running.elements(); ++i) {
    const double value = skip ? kept_running[i] : running[i];
    new_running[i] = value;
    new_kept[i] = value;
  }
}

QUERN_REFERENCE_INSTANTIATE(guard_forward);

}  // namespace quern::reference
