#pragma once

/// What `quern train --tui` shows, as a pure function: a state in, lines of text out. Nothing here knows a
/// terminal.

#include <string>
#include <vector>

#include "quern/trainer.hpp"

namespace quern::cli {

/// Loss and accuracy over a run, in at most kMost points: when there are more, neighbours are merged.
class Curves {
 public:
  static constexpr std::size_t kMost = 2048;
  struct Point {
    double step = 0;   ///< of the run, where its steps end
    double steps = 0;  ///< how many it is the mean of
    double loss = 0, accuracy = 0;
  };

  /// From the means of an epoch so far to means since the last call. Every step weighs the same.
  void add(const TrainProgress& progress);
  const std::vector<Point>& points() const { return points_; }

 private:
  std::vector<Point> points_;
  std::int64_t epoch_ = 0, step_ = 0;
  double loss_sum_ = 0, accuracy_sum_ = 0;
  double merged_ = 1;   ///< calls behind a point
  double waiting_ = 0;  ///< calls in the last point
};

/// A node's part of a step.
struct NodeShare {
  std::string node;
  double share = 0;  ///< of 1
};

struct DashboardState {
  std::string title;
  TrainProgress progress;
  double learning_rate = 0;
  double seconds = 0;  ///< since training began in this process
  Curves curves;
  std::string shares_title;        ///< says what the shares are of, and whether they were measured
  std::vector<NodeShare> shares;   ///< the largest first
  std::vector<std::string> lines;  ///< what was printed meanwhile, the newest last
};

struct DashboardStyle {
  bool unicode = true;  ///< else ASCII
  bool colour = true;   ///< also bold and dim
};

/// At most `rows` lines of at most `columns` characters, without line ends. What does not fit is left out:
/// shares first, then lines, then curves.
std::vector<std::string> render_dashboard(const DashboardState& state, std::size_t columns, std::size_t rows,
                                          const DashboardStyle& style);

}  // namespace quern::cli
