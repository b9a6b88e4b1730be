#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace quern::cli {

/// The manual page of the whole program in roff (man(7)), from the same flags and texts as its help.
std::string man_page(const CLI::App& app);

}  // namespace quern::cli
