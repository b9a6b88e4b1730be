#include "cli/plot.hpp"

#include <algorithm>
#include <cmath>

namespace quern::cli {
namespace {

/// Dots, each on or off, from the top left.
class Canvas {
 public:
  Canvas(std::size_t width, std::size_t height) : width_(width), height_(height), on_(width * height) {}
  std::size_t width() const { return width_; }
  std::size_t height() const { return height_; }
  void set(std::size_t x, std::size_t y) { on_[y * width_ + x] = true; }
  bool at(std::size_t x, std::size_t y) const { return on_[y * width_ + x]; }

 private:
  std::size_t width_, height_;
  std::vector<bool> on_;
};

/// The value of every dot's column: the mean of what falls into it; between values far apart, a straight
/// line.
std::vector<std::optional<double>> resample(const std::vector<std::optional<double>>& values,
                                            std::size_t width) {
  std::vector<double> sum(width);
  std::vector<int> count(width);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    const double place =
        values.size() > 1 ? static_cast<double>(i) / static_cast<double>(values.size() - 1) : 0;
    const auto x = static_cast<std::size_t>(std::lround(place * static_cast<double>(width - 1)));
    sum[x] += *values[i];
    ++count[x];
  }
  std::vector<std::optional<double>> columns(width);
  std::size_t last = width;  // the column of the value before; none yet
  for (std::size_t x = 0; x < width; ++x) {
    if (count[x] == 0) continue;
    columns[x] = sum[x] / count[x];
    if (last < x)
      for (std::size_t between = last + 1; between < x; ++between) {
        const double share = static_cast<double>(between - last) / static_cast<double>(x - last);
        columns[between] = *columns[last] + share * (*columns[x] - *columns[last]);
      }
    last = x;
  }
  return columns;
}

/// Marks the curve; a dot's neighbours are joined by an upright stroke, so that a steep curve has no gaps.
void draw(Canvas& canvas, const std::vector<std::optional<double>>& values, double low, double high) {
  const auto columns = resample(values, canvas.width());
  const double span = high > low ? high - low : 1;
  const auto row = [&](double value) {
    const double share = std::clamp((value - low) / span, 0.0, 1.0);
    return static_cast<std::size_t>(std::lround((1 - share) * static_cast<double>(canvas.height() - 1)));
  };
  std::size_t before = canvas.height();  // the row of the column before; none yet
  for (std::size_t x = 0; x < canvas.width(); ++x) {
    if (!columns[x] || !std::isfinite(*columns[x])) {
      before = canvas.height();
      continue;
    }
    const std::size_t here = row(*columns[x]);
    std::size_t from = here, to = here;
    if (before < canvas.height()) {
      if (before + 1 < here) from = before + 1;
      if (here + 1 < before) to = before - 1;
    }
    for (std::size_t y = from; y <= to; ++y) canvas.set(x, y);
    before = here;
  }
}

/// UTF-8 of U+2800 and the dots of one character: bits in the order of the Unicode block.
std::string braille(const Canvas& canvas, std::size_t column, std::size_t row) {
  static constexpr int kBits[4][2] = {{0, 3}, {1, 4}, {2, 5}, {6, 7}};
  int dots = 0;
  for (std::size_t y = 0; y < 4; ++y)
    for (std::size_t x = 0; x < 2; ++x)
      if (canvas.at(2 * column + x, 4 * row + y)) dots |= 1 << kBits[y][x];
  if (dots == 0) return " ";
  return {'\xE2', static_cast<char>(0xA0 | dots >> 6), static_cast<char>(0x80 | (dots & 0x3F))};
}

}  // namespace

std::vector<std::string> plot(const std::vector<std::optional<double>>& values, double low, double high,
                              std::size_t columns, std::size_t rows, bool unicode) {
  std::vector<std::string> lines(rows);
  if (columns == 0 || rows == 0) return lines;
  Canvas canvas(unicode ? 2 * columns : columns, unicode ? 4 * rows : rows);
  draw(canvas, values, low, high);
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t column = 0; column < columns; ++column)
      lines[row] += unicode ? braille(canvas, column, row) : canvas.at(column, row) ? "*" : " ";
  return lines;
}

std::string bar(double share, std::size_t columns, bool unicode) {
  const double filled =
      std::clamp(std::isfinite(share) ? share : 0.0, 0.0, 1.0) * static_cast<double>(columns);
  std::string text;
  if (!unicode) {
    const auto whole = static_cast<std::size_t>(std::lround(filled));
    return std::string(whole, '#') + std::string(columns - whole, '-');
  }
  const auto eighths = static_cast<std::size_t>(std::lround(filled * 8));
  for (std::size_t column = 0; column < columns; ++column) {
    const std::size_t here = eighths > 8 * column ? std::min<std::size_t>(eighths - 8 * column, 8) : 0;
    // U+2588 is a full block, U+258F an eighth from the left; nothing is a light shade.
    if (here == 0)
      text += "\u2591";
    else
      text += {'\xE2', '\x96', static_cast<char>(0x90 - here)};
  }
  return text;
}

}  // namespace quern::cli
