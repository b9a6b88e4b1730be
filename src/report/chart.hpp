#pragma once

/// Line charts in SVG.

#include <optional>
#include <string>
#include <vector>

namespace quern {

struct Series {
  std::string label;
  std::vector<std::pair<double, double>> points;  ///< ascending x; values that are not finite are left out
  int color = 0;                                  ///< 0 .. 5, see kReportStyle
  bool dashed = false;
  bool faint = false;
  bool dots = false;  ///< one at every point
};

struct Chart {
  std::string title, x_label;
  std::vector<Series> series;
  bool percent = false;       ///< y is a share of 1
  bool logarithmic = false;   ///< y; values at or below 0 are left out
  std::optional<double> top;  ///< y is at most this
  bool from_zero = false;
};

/// A figure with caption, chart and legend; empty if there is no point to draw.
std::string render_chart(const Chart& chart);

/// At most `count` points: means of neighbours.
std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points,
                                               std::size_t count);

/// Round numbers that cover low .. high in about `count` steps, ascending.
std::vector<double> nice_ticks(double low, double high, int count);

}  // namespace quern
