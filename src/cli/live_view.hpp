#pragma once

/// `quern train --tui`: the dashboard on a screen, fed by the run.

#include <chrono>
#include <memory>
#include <string>

#include "cli/dashboard.hpp"
#include "cli/screen.hpp"
#include "quern/profile.hpp"
#include "quern/trainer.hpp"

namespace quern::cli {

class LiveView {
 public:
  /// Takes the screen. Node shares are measured in every kProfileEvery-th step where the device computes
  /// while it is waited for: that step is walked node by node, which is the same work with two looks at the
  /// clock a node. Where it does not, or where another `watcher` has the trainer's steps, they are the plan's
  /// bytes.
  LiveView(std::string title, Session& session, Trainer& trainer, bool watched);
  ~LiveView();
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;

  static constexpr std::int64_t kProfileEvery = 50;
  static constexpr double kLeastSeconds = 0.09;

  /// Both draw, unless the last picture is younger than kLeastSeconds.
  void update(const TrainProgress& progress);
  void epoch(const EpochResult& result);
  /// A line that was printed meanwhile.
  void line(const std::string& text);
  /// Draws, however young the last picture is.
  void draw();

 private:
  using Clock = std::chrono::steady_clock;
  void show(const TrainProgress& progress);
  void draw_if_due();
  void look_at_nodes();

  Session& session_;
  const std::int64_t training_images_, steps_per_epoch_;
  const DashboardStyle style_;
  DashboardState state_;
  Clock::time_point start_ = Clock::now(), drawn_{};
  std::unique_ptr<Profiler> profiler_;  ///< none: shares by the plan
  std::size_t walks_shown_ = 0;
  Screen screen_;
};

}  // namespace quern::cli
