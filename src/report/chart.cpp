#include "report/chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "io/text.hpp"
#include "report/html.hpp"

namespace quern {
namespace {

constexpr double kWidth = 440, kHeight = 232, kLeft = 46, kRight = 10, kTop = 10, kBottom = 34;

struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;
  std::vector<double> ticks;

  double at(double value) const {
    return logarithmic ? (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low))
                       : (value - low) / (high - low);
  }
};

bool drawable(const Chart& chart, const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second) &&
         (!chart.logarithmic || point.second > 0);
}

/// 1, 2 and 5 times powers of ten between low and high; powers alone where those would be many.
std::vector<double> log_ticks(double low, double high) {
  std::vector<double> ticks;
  const double decades = std::log10(high / low);
  for (double power = std::pow(10, std::floor(std::log10(low))); power <= high; power *= 10)
    for (const double factor : {1.0, 2.0, 5.0})
      if ((factor == 1 || decades < 2.5) && power * factor >= low && power * factor <= high)
        ticks.push_back(power * factor);
  return ticks;
}

Axis y_axis(const Chart& chart, double low, double high) {
  Axis axis;
  axis.logarithmic = chart.logarithmic;
  if (chart.from_zero) low = 0;
  if (chart.logarithmic) {
    axis.low = low / 1.15;
    axis.high = high * 1.15;
    axis.ticks = log_ticks(axis.low, axis.high);
    if (axis.ticks.size() >= 2) return axis;
    axis.ticks = nice_ticks(axis.low, axis.high, 4);
    std::erase_if(axis.ticks, [&](double tick) { return tick < axis.low || tick > axis.high; });
    return axis;
  }
  if (high - low < 1e-9 * std::max(1.0, std::abs(high))) {
    low -= std::max(1e-3, std::abs(low) * 0.1);
    if (!chart.top || high < *chart.top) high += std::max(1e-3, std::abs(high) * 0.1);
  }
  axis.ticks = nice_ticks(low, high, 4);
  if (chart.top) std::erase_if(axis.ticks, [&](double tick) { return tick > *chart.top + 1e-12; });
  axis.low = std::min(low, axis.ticks.front());
  if (chart.from_zero && axis.ticks.size() > 2) {  // no room for a tick that nothing reaches
    std::erase_if(axis.ticks, [&](double tick) { return tick > high * 1.02; });
    axis.high = high * 1.06;
    return axis;
  }
  axis.high = std::max(high, axis.ticks.back());
  return axis;
}

std::string tick_text(const Chart& chart, const Axis& axis, double tick) {
  if (chart.percent) {
    const double step = axis.ticks.size() > 1 ? (axis.ticks[1] - axis.ticks[0]) * 100 : 1;
    return fmt::format("{:.{}f} %", tick * 100, step < 0.1 ? 2 : step < 1 ? 1 : 0);
  }
  if (std::abs(tick) >= 10000 && std::abs(tick) < 1e15) return with_commas(std::llround(tick));
  return fmt::format("{:g}", std::abs(tick) < 1e-12 ? 0 : tick);
}

std::string legend(const Chart& chart) {
  if (chart.series.size() < 2 && chart.series[0].label.empty()) return "";
  std::string items;
  for (const Series& series : chart.series)
    if (!series.label.empty())
      items += fmt::format(
          R"(<li><svg viewBox="0 0 24 8" aria-hidden="true"><path class="curve c{}{}" d="M1 4H23"/></svg>{}</li>)",
          series.color, series.dashed ? " dashed" : "", escape(series.label));
  return items.empty() ? "" : "<ul class=\"legend\">" + items + "</ul>";
}

}  // namespace

std::vector<double> nice_ticks(double low, double high, int count) {
  const double rough = std::max(high - low, 1e-12) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double factor = rough / power;
  const double step = power * (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10);
  std::vector<double> ticks;
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  for (double i = first; i <= last; ++i) ticks.push_back(i * step);
  return ticks;
}

std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points,
                                               std::size_t count) {
  if (points.size() <= count) return points;
  std::vector<std::pair<double, double>> result;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t begin = i * points.size() / count, end = (i + 1) * points.size() / count;
    double x = 0, y = 0;
    for (std::size_t j = begin; j < end; ++j) {
      x += points[j].first;
      y += points[j].second;
    }
    const auto size = static_cast<double>(end - begin);
    result.emplace_back(x / size, y / size);
  }
  return result;
}

std::string render_chart(const Chart& chart) {
  double x_low = HUGE_VAL, x_high = -HUGE_VAL, low = HUGE_VAL, high = -HUGE_VAL;
  for (const Series& series : chart.series)
    for (const auto& point : series.points) {
      if (!drawable(chart, point)) continue;
      x_low = std::min(x_low, point.first);
      x_high = std::max(x_high, point.first);
      low = std::min(low, point.second);
      high = std::max(high, point.second);
    }
  if (x_low > x_high) return "";
  Axis x;
  x.low = std::min(0.0, x_low);
  x.high = x_high > x.low ? x_high : x.low + 1;
  x.ticks = nice_ticks(x.low, x.high, 5);
  std::erase_if(x.ticks, [&](double tick) { return tick > x.high * (1 + 1e-9); });
  const Axis y = y_axis(chart, low, high);
  const auto px = [&](double value) { return kLeft + x.at(value) * (kWidth - kLeft - kRight); };
  const auto py = [&](double value) { return kHeight - kBottom - y.at(value) * (kHeight - kTop - kBottom); };

  std::string svg = fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}">)", kWidth, kHeight,
                                escape(chart.title));
  for (const double tick : y.ticks)
    svg += fmt::format(
        R"(<path class="grid" d="M{} {:.1f}H{}"/><text x="{}" y="{:.1f}" text-anchor="end">{}</text>)", kLeft,
        py(tick), kWidth - kRight, kLeft - 6, py(tick) + 4, tick_text(chart, y, tick));
  for (const double tick : x.ticks)
    svg += fmt::format(R"(<text x="{:.1f}" y="{}" text-anchor="middle">{:g}</text>)", px(tick),
                       kHeight - kBottom + 15, std::abs(tick) < 1e-12 ? 0 : tick);
  svg += fmt::format(R"(<path class="axis" d="M{} {}H{}"/><text x="{}" y="{}" text-anchor="end">{}</text>)",
                     kLeft, kHeight - kBottom, kWidth - kRight, kWidth - kRight, kHeight - 4,
                     escape(chart.x_label));
  for (const Series& series : chart.series) {
    std::string line, dots;
    for (const auto& point : series.points) {
      if (!drawable(chart, point)) continue;
      line += fmt::format("{}{:.1f} {:.1f}", line.empty() ? "M" : "L", px(point.first), py(point.second));
      if (series.dots)
        dots += fmt::format(
            R"(<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}: {:.5g}</title></circle>)",
            series.color, px(point.first), py(point.second), escape(series.label), point.second);
    }
    if (!line.empty())
      svg += fmt::format(R"(<path class="curve c{}{}{}" d="{}"/>{})", series.color,
                         series.dashed ? " dashed" : "", series.faint ? " faint" : "", line, dots);
  }
  return fmt::format("<figure><h3>{}</h3>{}</svg>{}</figure>\n", escape(chart.title), svg, legend(chart));
}

}  // namespace quern
