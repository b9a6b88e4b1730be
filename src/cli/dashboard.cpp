#include "cli/dashboard.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/console.hpp"
#include "cli/plot.hpp"
#include "cli/progress.hpp"
#include "io/text.hpp"

namespace quern::cli {
namespace {

constexpr const char *kBold = "1", *kDim = "2", *kGreen = "32", *kCyan = "36", *kYellow = "33";

/// The first `columns` characters, filled up with blanks where `pad`.
std::string fit(std::string_view text, std::size_t columns, bool pad = false) {
  std::string out;
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (begins && width == columns) break;
    width += begins ? 1 : 0;
    out += text[i];
  }
  if (pad) out.append(columns - width, ' ');
  return out;
}

class Renderer {
 public:
  Renderer(const DashboardState& state, std::size_t columns, std::size_t rows, const DashboardStyle& style)
      : state_(state), columns_(columns), rows_(rows), style_(style) {}

  std::vector<std::string> lines() {
    head();
    const std::size_t rest = rows_ > out_.size() ? rows_ - out_.size() : 0;
    const std::size_t printed = std::min(state_.lines.size(), rest >= 22  ? std::size_t{5}
                                                              : rest >= 9 ? 2
                                                                          : 0);
    const std::size_t shares = rest >= 15 ? std::min(state_.shares.size(), std::size_t{rest >= 36   ? 14u
                                                                                       : rest >= 24 ? 8u
                                                                                                    : 4u})
                                          : 0;
    // A blank line before each part; the shares have a heading.
    const std::size_t others = (printed > 0 ? printed + 1 : 0) + (shares > 0 ? shares + 2 : 0);
    if (rest > others + 4) both_curves(std::min<std::size_t>(rest - others - 1, 20));
    if (shares > 0) node_shares(shares);
    if (printed > 0) newest_lines(printed);
    if (out_.size() > rows_) out_.resize(rows_);
    return std::move(out_);
  }

 private:
  std::string painted(std::string text, const char* code) const {
    return style_.colour && !text.empty() ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
  }
  void add(std::string_view text, const char* code = nullptr) {
    const std::string cut = fit(text, columns_);
    out_.push_back(code == nullptr ? cut : painted(cut, code));
  }

  /// "epoch 2/5 [####----] 412/938", as wide as there is room.
  void progress_bar(const std::string& name, double share, const std::string& end) {
    const std::string left = fit(name, 12, true), right = fmt::format(" {}", end);
    const std::size_t used = display_width(left) + display_width(right);
    if (used + 4 > columns_) return add(left + end);
    out_.push_back(left + painted(bar(share, columns_ - used, style_.unicode), kGreen) + right);
  }

  void head() {
    const TrainProgress& now = state_.progress;
    add(state_.title, kBold);
    const auto ratio = [](double part, double whole) { return whole > 0 ? part / whole : 0; };
    const double per_epoch = static_cast<double>(now.steps_per_epoch);
    const double done =
        static_cast<double>(now.epoch - 1) * per_epoch + static_cast<double>(now.step_in_epoch);
    progress_bar(fmt::format("epoch {}/{}", now.epoch, now.epochs),
                 ratio(static_cast<double>(now.step_in_epoch), per_epoch),
                 fmt::format("step {}/{}", now.step_in_epoch, now.steps_per_epoch));
    progress_bar(
        "run", ratio(done, static_cast<double>(now.epochs) * per_epoch),
        fmt::format("{}, {} left", format_duration(state_.seconds), format_duration(now.seconds_left)));
    const std::string quality = fmt::format("loss {:.4f}   accuracy {}", now.loss, percent(now.accuracy));
    const std::string speed =
        fmt::format("{} images/s   learning rate {:.3g}",
                    with_commas(static_cast<long long>(now.images_per_second)), state_.learning_rate);
    if (display_width(quality) + 3 + display_width(speed) <= columns_) {
      add(fmt::format("{}   {}", quality, speed));
    } else {
      add(quality);
      add(speed);
    }
  }

  struct Range {
    double low = 0, high = 1;
    bool logarithmic = false;
  };

  /// A loss falls over decades, and is then shown by its logarithm.
  static Range loss_range(const std::vector<Curves::Point>& points) {
    double low = INFINITY, high = -INFINITY;
    for (const Curves::Point& point : points)
      if (std::isfinite(point.loss)) {
        low = std::min(low, point.loss);
        high = std::max(high, point.loss);
      }
    if (!(low <= high)) return {0, 1, false};
    if (low > 0 && high > 5 * low) return {low, high, true};
    return {low, high, false};
  }
  static Range accuracy_range(const std::vector<Curves::Point>& points) {
    double low = 1;
    for (const Curves::Point& point : points) low = std::min(low, point.accuracy);
    return {std::floor(low * 10) / 10, 1, false};
  }

  /// Points at even distances of steps.
  std::vector<std::optional<double>> sampled(bool loss, bool logarithmic, std::size_t count) const {
    const auto& points = state_.curves.points();
    std::vector<double> sums(count), weights(count);
    const double first = points.front().step - points.front().steps;
    const double span = std::max(points.back().step - first, 1.0);
    for (const Curves::Point& point : points) {
      const double share = (point.step - point.steps / 2 - first) / span;
      const auto at = std::min(static_cast<std::size_t>(share * static_cast<double>(count)), count - 1);
      const double value = loss ? point.loss : point.accuracy;
      if (!std::isfinite(value)) continue;
      sums[at] += point.steps * (logarithmic ? std::log(value) : value);
      weights[at] += point.steps;
    }
    std::vector<std::optional<double>> values(count);
    for (std::size_t i = 0; i < count; ++i)
      if (weights[i] > 0) values[i] = sums[i] / weights[i];
    return values;
  }

  /// A heading and the curve below it, its range at the left.
  std::vector<std::string> curve(bool loss, std::size_t columns, std::size_t rows) const {
    const std::size_t labels = columns >= 24 ? 8 : 0;
    const auto& points = state_.curves.points();
    const Range range = loss ? loss_range(points) : accuracy_range(points);
    const std::size_t width = columns - labels;
    std::vector<std::optional<double>> values;
    if (!points.empty()) values = sampled(loss, range.logarithmic, style_.unicode ? 2 * width : width);
    const auto scaled = [&](double value) { return range.logarithmic ? std::log(value) : value; };
    const auto drawn = plot(values, scaled(range.low), scaled(range.high), width, rows, style_.unicode);
    const auto label = [&](double value) {
      return points.empty() ? std::string()
             : loss         ? fmt::format("{:.4f}", value)
                            : fmt::format("{:.0f} %", 100 * value);
    };
    std::vector<std::string> lines{painted(
        fit(loss ? fmt::format("loss{}", range.logarithmic ? " (logarithmic)" : "") : std::string("accuracy"),
            columns, true),
        kBold)};
    for (std::size_t row = 0; row < rows; ++row) {
      const std::string value = row == 0 ? label(range.high) : row + 1 == rows ? label(range.low) : "";
      lines.push_back(painted(fit(fmt::format("{:>7} ", value), labels, true), kDim) +
                      painted(fit(drawn[row], width, true), loss ? kYellow : kCyan));
    }
    return lines;
  }

  /// Side by side where there is room, else one above the other, or the loss alone.
  void both_curves(std::size_t rows) {
    out_.emplace_back();
    if (columns_ >= 76) {
      const std::size_t half = (columns_ - 2) / 2;
      const auto left = curve(true, half, rows - 1), right = curve(false, half, rows - 1);
      for (std::size_t i = 0; i < left.size(); ++i) out_.push_back(left[i] + "  " + right[i]);
      return;
    }
    const bool both = rows >= 8;
    const std::size_t each = both ? rows / 2 : rows;
    for (const std::string& line : curve(true, columns_, each - 1)) out_.push_back(line);
    if (!both) return;
    for (const std::string& line : curve(false, columns_, each - 1)) out_.push_back(line);
  }

  void node_shares(std::size_t count) {
    out_.emplace_back();
    add(state_.shares_title, kBold);
    std::size_t widest = 8;
    for (std::size_t i = 0; i < count; ++i) widest = std::max(widest, display_width(state_.shares[i].node));
    widest = std::min(widest, columns_ / 2);
    for (std::size_t i = 0; i < count; ++i) {
      const NodeShare& share = state_.shares[i];
      const std::string left = fit(share.node, widest, true) + fmt::format(" {:5.1f} % ", 100 * share.share);
      const std::size_t used = display_width(left);
      if (used >= columns_) {
        add(left);
        continue;
      }
      // The largest fills the line; none has an empty end.
      const double length = share.share / std::max(state_.shares.front().share, 1e-9) *
                            static_cast<double>(std::min<std::size_t>(columns_ - used, 40));
      const auto cells = static_cast<std::size_t>(std::ceil(length));
      const std::string drawn =
          bar(cells > 0 ? length / static_cast<double>(cells) : 0, cells, style_.unicode);
      out_.push_back(left + painted(drawn, kCyan));
    }
  }

  void newest_lines(std::size_t count) {
    out_.emplace_back();
    for (std::size_t i = state_.lines.size() - count; i < state_.lines.size(); ++i) add(state_.lines[i]);
  }

  const DashboardState& state_;
  const std::size_t columns_, rows_;
  const DashboardStyle style_;
  std::vector<std::string> out_;
};

}  // namespace

void Curves::add(const TrainProgress& progress) {
  if (progress.epoch != epoch_) {
    epoch_ = progress.epoch;
    step_ = 0;
    loss_sum_ = accuracy_sum_ = 0;
  }
  if (progress.step_in_epoch <= step_) return;
  const auto steps = static_cast<double>(progress.step_in_epoch),
             since = static_cast<double>(progress.step_in_epoch - step_);
  Point point;
  point.step = static_cast<double>((progress.epoch - 1) * progress.steps_per_epoch + progress.step_in_epoch);
  point.steps = since;
  point.loss = (progress.loss * steps - loss_sum_) / since;
  point.accuracy = std::clamp((progress.accuracy * steps - accuracy_sum_) / since, 0.0, 1.0);
  step_ = progress.step_in_epoch;
  loss_sum_ = progress.loss * steps;
  accuracy_sum_ = progress.accuracy * steps;

  const auto merge = [](const Point& a, const Point& b) {
    const double all = a.steps + b.steps;
    return Point{b.step, all, (a.loss * a.steps + b.loss * b.steps) / all,
                 (a.accuracy * a.steps + b.accuracy * b.steps) / all};
  };
  if (!points_.empty() && waiting_ < merged_) {
    points_.back() = merge(points_.back(), point);
    ++waiting_;
    return;
  }
  if (points_.size() == kMost) {
    for (std::size_t i = 0; i < kMost / 2; ++i) points_[i] = merge(points_[2 * i], points_[2 * i + 1]);
    points_.resize(kMost / 2);
    merged_ *= 2;
  }
  points_.push_back(point);
  waiting_ = 1;
}

std::vector<std::string> render_dashboard(const DashboardState& state, std::size_t columns, std::size_t rows,
                                          const DashboardStyle& style) {
  return Renderer(state, columns, rows, style).lines();
}

}  // namespace quern::cli
