#pragma once

/// The command line as a whole, without the process around it.

#include <CLI/CLI.hpp>

namespace quern::cli {

/// Adds all subcommands and what is said about them; `status` as in commands.hpp.
void set_up(CLI::App& app, int& status);

}  // namespace quern::cli
