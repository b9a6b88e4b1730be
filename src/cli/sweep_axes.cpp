#include "cli/sweep_axes.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <set>

#include "quern/error.hpp"
#include "quern/philox.hpp"
#include "quern/suggest.hpp"

namespace quern::cli {
namespace {

/// Not among the purposes of a run (philox.hpp): what a search draws is never what training draws.
constexpr auto kSearch = static_cast<RandomPurpose>(128);

struct RangeKind {
  std::string_view prefix;
  Axis::Kind kind;
};
constexpr std::array kRanges{RangeKind{"uniform:", Axis::Kind::uniform}, RangeKind{"log:", Axis::Kind::log},
                             RangeKind{"int:", Axis::Kind::integer}};

double parse_bound(const Axis& axis, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    fail_input("--vary {}: '{}' is no number: give a range as {}=log:1e-4..1e-2", axis.text, text, axis.name);
  return value;
}

void parse_range(Axis& axis, std::string_view bounds) {
  const std::size_t dots = bounds.find("..");
  if (dots == std::string_view::npos)
    fail_input("--vary {}: a range has two ends, such as {}=log:1e-4..1e-2", axis.text, axis.name);
  axis.low = parse_bound(axis, bounds.substr(0, dots));
  axis.high = parse_bound(axis, bounds.substr(dots + 2));
  if (!(axis.low < axis.high))
    fail_input("--vary {}: the lower end of the range must be below the upper one", axis.text);
  if (axis.kind == Axis::Kind::log && axis.low <= 0)
    fail_input("--vary {}: a logarithmic range must lie above 0; use uniform: or a list", axis.text);
  constexpr double kMostInteger = 9007199254740992.0;  // 2^53: whole numbers are exact up to here
  if (axis.kind == Axis::Kind::integer &&
      (axis.low != std::floor(axis.low) || axis.high != std::floor(axis.high) ||
       std::max(-axis.low, axis.high) > kMostInteger))
    fail_input("--vary {}: the ends of an int range must be whole numbers", axis.text);
}

void parse_list(Axis& axis, std::string_view text) {
  const char separator = text.find('|') != std::string_view::npos ? '|' : ',';
  axis.values.emplace_back();
  for (const char c : text) {
    if (c == separator)
      axis.values.emplace_back();
    else
      axis.values.back().push_back(c);
  }
  for (auto value = axis.values.begin(); value != axis.values.end(); ++value) {
    if (value->empty()) fail_input("--vary {}: a value of the list is empty", axis.text);
    if (std::find(axis.values.begin(), value, *value) != value)
      fail_input("--vary {}: {} is listed twice", axis.text, *value);
  }
}

/// Uniform in (0, 1).
double uniform(std::uint64_t seed, std::size_t axis, std::int64_t draw) {
  const std::uint32_t bits =
      philox_u32(seed, kSearch, static_cast<std::uint32_t>(axis), 0, static_cast<std::uint64_t>(draw));
  return (static_cast<double>(bits) + 0.5) / 4294967296.0;
}

/// To four digits, which hides the last bits in which two machines' logarithms may differ.
std::string rounded(const Axis& axis, double value) {
  std::string text = fmt::format("{:.4g}", value);
  const double read = std::stod(text);
  if (read < axis.low) text = fmt::format("{}", axis.low);
  if (read > axis.high) text = fmt::format("{}", axis.high);
  return text;
}

std::string value_at(const Axis& axis, double u) {
  switch (axis.kind) {
    case Axis::Kind::list: {
      const auto size = static_cast<double>(axis.values.size());
      return axis.values[static_cast<std::size_t>(u * size)];
    }
    case Axis::Kind::uniform:
      return rounded(axis, axis.low + u * (axis.high - axis.low));
    case Axis::Kind::log:
      return rounded(axis, std::exp(std::log(axis.low) + u * (std::log(axis.high) - std::log(axis.low))));
    case Axis::Kind::integer:
      break;
  }
  return fmt::format("{:.0f}", std::min(axis.high, axis.low + std::floor(u * (axis.high - axis.low + 1))));
}

}  // namespace

Axis parse_axis(const std::string& text) {
  Axis axis;
  axis.text = text;
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    fail_input("--vary {}: give NAME=VALUES, such as lr=1e-3,3e-3 or spec:layers.conv1.filters=16,32", text);
  axis.name = text.substr(0, equals);
  while (axis.name.starts_with('-')) axis.name.erase(0, 1);
  const std::string_view values = std::string_view(text).substr(equals + 1);
  for (const RangeKind& range : kRanges)
    if (values.starts_with(range.prefix)) {
      axis.kind = range.kind;
      parse_range(axis, values.substr(range.prefix.size()));
      return axis;
    }
  if (values.find("..") != std::string_view::npos)
    fail_input("--vary {}: say how to draw from the range: uniform:{}, log:... or int:...", text, values);
  parse_list(axis, values);
  return axis;
}

std::vector<Setting> grid(std::span<const Axis> axes) {
  std::vector<Setting> settings(1);
  for (const Axis& axis : axes) {
    if (axis.kind != Axis::Kind::list)
      fail_input("--vary {}: a range is for a random search: add --random N, or list the values", axis.text);
    if (static_cast<std::int64_t>(settings.size() * axis.values.size()) > kMostSettings)
      fail_input("--vary: more than {} combinations: list fewer values, or draw some with --random N",
                 kMostSettings);
    std::vector<Setting> longer;
    for (const Setting& setting : settings)
      for (const std::string& value : axis.values) {
        longer.push_back(setting);
        longer.back().push_back(value);
      }
    settings = std::move(longer);
  }
  return settings;
}

std::vector<Setting> draw(std::span<const Axis> axes, std::int64_t count, std::uint64_t seed) {
  if (axes.empty()) fail_input("--random {}: say with --vary what to draw", count);
  std::vector<Setting> settings;
  std::set<Setting> seen;
  constexpr std::int64_t kMostRepeats = 100'000;  // in a row: then there is nothing new left to draw
  std::int64_t repeats = 0;
  for (std::int64_t number = 0; static_cast<std::int64_t>(settings.size()) < count; ++number) {
    Setting setting;
    for (std::size_t i = 0; i < axes.size(); ++i)
      setting.push_back(value_at(axes[i], uniform(seed, i, number)));
    if (seen.insert(setting).second) {
      settings.push_back(std::move(setting));
      repeats = 0;
    } else if (++repeats == kMostRepeats) {
      fail_input("--random {}: only {} different settings can be drawn: ask for fewer", count,
                 settings.size());
    }
  }
  return settings;
}

std::vector<std::string> words_of(std::span<const Axis> axes, const Setting& setting) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < axes.size(); ++i)
    words.push_back(axes[i].of_spec() ? fmt::format("--set={}={}", title(axes[i]), setting[i])
                                      : fmt::format("--{}={}", axes[i].name, setting[i]));
  return words;
}

std::string describe(std::span<const Axis> axes, const Setting& setting) {
  std::string text;
  for (std::size_t i = 0; i < axes.size(); ++i)
    text += fmt::format("{}{}={}", i > 0 ? " " : "", title(axes[i]), setting[i]);
  return text;
}

std::string title(const Axis& axis) {
  return axis.of_spec() ? axis.name.substr(std::string_view("spec:").size()) : axis.name;
}

}  // namespace quern::cli
