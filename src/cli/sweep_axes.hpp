#pragma once

/// What a sweep varies, and the settings that come of it.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern::cli {

/// One --vary: NAME=VALUES. NAME is a flag of `quern train` without its dashes, or spec: and a field as --set
/// takes it. VALUES is a list, separated by commas (or by | where values hold commas), or for a random search
/// a range: uniform:A..B, log:A..B (uniform in the logarithm) or int:A..B (whole numbers, both ends
/// included).
struct Axis {
  enum class Kind { list, uniform, log, integer };
  std::string text;  ///< as given
  std::string name;
  Kind kind = Kind::list;
  std::vector<std::string> values;  ///< of a list
  double low = 0, high = 0;         ///< of a range

  bool of_spec() const { return name.starts_with("spec:"); }
  /// The flag whose value varies: "lr", or "set" for a field of the spec.
  std::string flag() const { return of_spec() ? "set" : name; }
};

/// Throws input errors that name the axis.
Axis parse_axis(const std::string& text);

/// One value for each axis.
using Setting = std::vector<std::string>;

/// Every combination, the last axis fastest; one empty setting without axes. Throws an input error for a
/// range or more than kMostSettings.
std::vector<Setting> grid(std::span<const Axis> axes);

/// `count` distinct settings. The first n of them are the same for every count of at least n: a draw depends
/// on the seed, its number and the axis alone. What is drawn from a range of reals is rounded to four digits.
/// Throws an input error when lists alone do not have that many combinations.
std::vector<Setting> draw(std::span<const Axis> axes, std::int64_t count, std::uint64_t seed);

inline constexpr std::int64_t kMostSettings = 10'000;

/// The words that give `quern train` a setting: "--lr=0.003", "--set=layers.conv1.filters=32".
std::vector<std::string> words_of(std::span<const Axis> axes, const Setting& setting);
/// "lr=0.003 layers.conv1.filters=32"; empty without axes.
std::string describe(std::span<const Axis> axes, const Setting& setting);
/// What heads an axis' column: "lr", "layers.conv1.filters".
std::string title(const Axis& axis);

}  // namespace quern::cli
