#include "quern/suggest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace quern {
namespace {

/// Letters to change, to add, to leave out, or to swap with their neighbour (optimal string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  const std::size_t width = b.size() + 1;
  std::vector<std::size_t> above(width), row(width), next(width);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    next[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      next[j + 1] = std::min({row[j] + (a[i] == b[j] ? 0 : 1), row[j + 1] + 1, next[j] + 1});
      if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j])
        next[j + 1] = std::min(next[j + 1], above[j - 1] + 1);
    }
    above.swap(row);
    row.swap(next);
  }
  return row[b.size()];
}

/// A third of the letters may be wrong, of short words one; more than that is another word.
std::size_t most_wrong(std::string_view text) {
  return text.size() <= 3 ? text.size() / 2 : std::max<std::size_t>(2, text.size() / 3);
}

}  // namespace

std::optional<std::string> nearest(std::string_view text, std::span<const std::string> candidates) {
  const std::string* best = nullptr;
  std::size_t best_distance = most_wrong(text) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(text, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best_distance = distance;
      best = &candidate;
    }
  }
  if (best != nullptr) return *best;
  constexpr std::size_t kShortestBeginning = 3;
  if (text.size() < kShortestBeginning) return std::nullopt;
  for (const std::string& candidate : candidates) {
    if (!candidate.starts_with(text)) continue;
    if (best != nullptr) return std::nullopt;
    best = &candidate;
  }
  return best == nullptr ? std::nullopt : std::optional(*best);
}

std::string did_you_mean(std::string_view text, std::span<const std::string> candidates) {
  const auto found = nearest(text, candidates);
  return found ? fmt::format("; did you mean '{}'?", *found) : std::string();
}

}  // namespace quern
