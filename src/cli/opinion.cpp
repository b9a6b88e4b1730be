#include "cli/opinion.hpp"

#include <optional>

namespace quern::cli {

Opinion ask(const Checkpoint& checkpoint, const SessionOptions& options, const Split& images,
            const char* what, std::int64_t count, std::span<const View> views, ProbabilityMean* mean) {
  Session session(checkpoint.spec, options);
  session.set_weights(checkpoint.weights);
  if (!checkpoint.ema.empty()) session.set_average(checkpoint.ema);
  const auto evaluate = [&](const Split& seen) {
    const DeviceImages device_images(session, seen, what);
    return Evaluator(session, device_images, first_indices(count)).run(/*keep_logits=*/true);
  };

  Opinion opinion{{}, session.device_name()};
  std::optional<ProbabilityMean> own;
  if (views.size() > 1) own.emplace(count, output_classes(checkpoint.spec));
  for (const View view : views) {
    Evaluation evaluation = view == View{} ? evaluate(images) : evaluate(viewed(images, view, count));
    if (own) own->add(evaluation.logits);
    if (mean != nullptr) mean->add(evaluation.logits);
    if (!own) opinion.evaluation = std::move(evaluation);
  }
  if (own) opinion.evaluation = own->evaluate(images.labels);
  return opinion;
}

}  // namespace quern::cli
