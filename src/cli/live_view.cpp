#include "cli/live_view.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/console.hpp"
#include "io/text.hpp"
#include "quern/recipe.hpp"

namespace quern::cli {
namespace {

constexpr std::size_t kKeptLines = 16;

void sort_and_scale(std::vector<NodeShare>& shares) {
  double sum = 0;
  for (const NodeShare& share : shares) sum += share.share;
  for (NodeShare& share : shares) share.share = sum > 0 ? share.share / sum : 0;
  std::stable_sort(shares.begin(), shares.end(),
                   [](const NodeShare& a, const NodeShare& b) { return a.share > b.share; });
}

std::vector<NodeShare> shares_of_plan(const Plan& plan) {
  std::vector<NodeShare> shares;
  for (const PlannedNode& planned : plan.nodes)
    shares.push_back(
        {plan.graph.nodes[static_cast<std::size_t>(planned.node)].name, cost(planned.desc).bytes});
  sort_and_scale(shares);
  return shares;
}

}  // namespace

LiveView::LiveView(std::string title, Session& session, Trainer& trainer, bool watched)
    : session_(session),
      training_images_(trainer.training_images()),
      steps_per_epoch_(trainer.steps_per_epoch()),
      style_{locale_is_utf8(), colours_wanted()} {
  state_.title = std::move(title);
  if (!watched && !session.device().asynchronous()) {
    profiler_ = std::make_unique<Profiler>(session.device());
    const std::int64_t whole_batches = training_images_ / session.spec().recipe.batch_size;
    trainer.watch(kProfileEvery, [this, whole_batches](Executor& executor, std::int64_t step) {
      // The last step of an epoch may be of another plan; the first of a run pays for what it touches first.
      if (step == 0 || step % steps_per_epoch_ >= whole_batches)
        executor.run();
      else
        profiler_->walk(executor);
    });
    state_.shares_title =
        fmt::format("time of a step by node: will be measured in every {}th step", kProfileEvery);
  } else {
    state_.shares = shares_of_plan(trainer.plan());
    state_.shares_title = "least bytes of a step by node (from the plan, not measured)";
  }
  draw_if_due();
}

LiveView::~LiveView() = default;

void LiveView::look_at_nodes() {
  if (!profiler_ || profiler_->nodes().empty()) return;
  constexpr std::size_t kNewest = 32;
  const std::size_t walks = profiler_->nodes().front().seconds.size();
  if (walks == walks_shown_) return;
  walks_shown_ = walks;
  state_.shares.clear();
  for (const NodeProfile& node : profiler_->nodes()) {
    const auto newest = static_cast<std::ptrdiff_t>(std::min(walks, kNewest));
    state_.shares.push_back({node.node, median({node.seconds.end() - newest, node.seconds.end()})});
  }
  sort_and_scale(state_.shares);
  state_.shares_title = fmt::format("time of a step by node (measured in every {}th step; medians of {})",
                                    kProfileEvery, std::min(walks, kNewest));
  // A profile keeps every walk; a long run has too many of them.
  if (walks < 8 * kNewest) return;
  profiler_ = std::make_unique<Profiler>(session_.device());
  walks_shown_ = 0;
}

void LiveView::show(const TrainProgress& progress) {
  state_.progress = progress;
  state_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const std::int64_t step = (progress.epoch - 1) * progress.steps_per_epoch + progress.step_in_epoch;
  const std::int64_t steps = progress.epochs * progress.steps_per_epoch;
  // Of the step done last.
  state_.learning_rate = learning_rate_at(session_.spec().recipe, std::max<std::int64_t>(step - 1, 0), steps,
                                          progress.steps_per_epoch);
  state_.curves.add(progress);
  draw_if_due();
}

void LiveView::update(const TrainProgress& progress) {
  show(progress);
}

void LiveView::epoch(const EpochResult& result) {
  TrainProgress progress;
  progress.epoch = result.epoch;
  progress.epochs = session_.spec().recipe.epochs;
  progress.step_in_epoch = progress.steps_per_epoch = steps_per_epoch_;
  progress.loss = result.train_loss;
  progress.accuracy = result.train_accuracy;
  progress.images_per_second = result.images_per_second;
  progress.seconds_left = static_cast<double>((progress.epochs - progress.epoch) * training_images_) /
                          std::max(result.images_per_second, 1e-9);
  show(progress);
}

void LiveView::line(const std::string& text) {
  if (state_.lines.size() == kKeptLines) state_.lines.erase(state_.lines.begin());
  state_.lines.push_back(printable(text));
  draw_if_due();
}

void LiveView::draw_if_due() {
  if (std::chrono::duration<double>(Clock::now() - drawn_).count() >= kLeastSeconds) draw();
}

void LiveView::draw() {
  look_at_nodes();
  const Screen::Size size = Screen::size();
  screen_.draw(render_dashboard(state_, size.columns, size.rows, style_), size);
  drawn_ = Clock::now();
}

}  // namespace quern::cli
