#pragma once

#include <optional>
#include <string>
#include <vector>

namespace quern::cli {

/// A curve in rows of text, each `columns` wide: Braille characters of two by four dots, or ASCII. `values`
/// are spread over the width from left to right, from `low` at the bottom to `high` at the top; a value that
/// is none leaves a gap. With more values than dots, the mean of those that fall together.
std::vector<std::string> plot(const std::vector<std::optional<double>>& values, double low, double high,
                              std::size_t columns, std::size_t rows, bool unicode);

/// `share` of `columns` filled; eighths of a character in Unicode, whole ones in ASCII.
std::string bar(double share, std::size_t columns, bool unicode);

}  // namespace quern::cli
