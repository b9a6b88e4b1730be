#pragma once

/// What a flag's value can be: for messages about mistakes, and for shells that complete values.

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace quern::cli {

struct FlagValues {
  std::vector<std::string> names;
  std::string others;                                ///< what else it may be, in words; empty: nothing
  std::function<bool(const std::string&)> is_other;  ///< whether a value is such; none: nothing is
};

/// By the flag's name, which means the same after every command. Nothing where any text or number is a value.
std::optional<FlagValues> values_of(const CLI::Option& option);

}  // namespace quern::cli
